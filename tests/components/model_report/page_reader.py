"""Reads a report page back: is it well formed, what does it say, what are its pictures?"""

import base64
import io
from html.parser import HTMLParser

import numpy as np
from PIL import Image

_VOID = {"meta", "img", "source", "br", "hr", "link", "input"}


class Page(HTMLParser):
    """A parsed page.

    Attributes:
      text: Section id (or "") to its text, with whitespace collapsed.
      rows: Section id to the cells of its table's rows.
      images: Section id to its `<img>` attributes.
      attributes: Every (tag, name, value).
    """

    def __init__(self, html):
        super().__init__(convert_charrefs=True)
        self._open, self._section = [], ""
        self._text, self.rows, self.images, self.attributes = {}, {}, {}, []
        self.feed(html)
        self.close()
        assert self._open == [], f"never closed: {self._open}"
        self.text = {name: " ".join(" ".join(parts).split()) for name, parts in self._text.items()}

    def handle_starttag(self, tag, attrs):
        self.attributes += [(tag, name, value) for name, value in attrs]
        if tag not in _VOID:
            self._open.append(tag)
        if tag == "section":
            self._section = dict(attrs).get("id", "")
        elif tag == "tr":
            self.rows.setdefault(self._section, []).append([])
        elif tag in ("td", "th"):
            self.rows[self._section][-1].append("")
        elif tag == "img":
            self.images.setdefault(self._section, []).append(dict(attrs))

    def handle_endtag(self, tag):
        assert self._open, f"</{tag}> closes nothing"
        assert self._open.pop() == tag
        if tag == "section":
            self._section = ""

    def handle_data(self, data):
        self._text.setdefault(self._section, []).append(data)
        if {"td", "th"} & set(self._open):
            self.rows[self._section][-1][-1] += data

    def pixels(self, section, index=0):
        """The decoded PNG of a section's image."""
        return decode(self.images[section][index]["src"])


def decode(data_uri):
    prefix = "data:image/png;base64,"
    assert data_uri.startswith(prefix)
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(data_uri[len(prefix) :]))))
