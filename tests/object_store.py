"""A file system that behaves as an object store, and a way to kill a program at any step."""

import contextlib
import fnmatch
import io
import posixpath

from tfx.dsl.io import fileio, filesystem, filesystem_registry

_CHANGES = ("copy", "makedirs", "open", "remove", "rename", "rmtree")


class ObjectStore(filesystem.Filesystem):
    """Objects in memory under `objects://`.

    There are no folders, only names with slashes in them; a folder is listed with a slash at its
    end; and renaming or removing a folder does so object by object.
    """

    SUPPORTED_SCHEMES = ["objects://"]  # noqa: RUF012
    objects = {}  # noqa: RUF012
    # Called before each change of an object.
    on_change = staticmethod(lambda: None)

    @classmethod
    def _put(cls, path, content):
        cls.on_change()
        cls.objects[path] = content

    @classmethod
    def _below(cls, path):
        prefix = path.rstrip("/") + "/"
        return sorted(name for name in cls.objects if name.startswith(prefix))

    @classmethod
    @contextlib.contextmanager
    def open(cls, name, mode="r"):
        binary = "b" in mode
        if "w" not in mode:
            content = cls._get(name)
            yield io.BytesIO(content) if binary else io.StringIO(content.decode())
            return
        file = io.BytesIO() if binary else io.StringIO()
        yield file
        content = file.getvalue()
        cls._put(name, content if binary else content.encode())

    @classmethod
    def _get(cls, path):
        if path not in cls.objects:
            raise filesystem.NotFoundError(path)
        return cls.objects[path]

    @classmethod
    def copy(cls, src, dst, overwrite=False):
        if dst in cls.objects and not overwrite:
            raise OSError(f"{dst} exists")
        cls._put(dst, cls._get(src))

    @classmethod
    def exists(cls, path):
        return path in cls.objects or cls.isdir(path)

    @classmethod
    def glob(cls, pattern):
        return fnmatch.filter(cls.objects, pattern)

    @classmethod
    def isdir(cls, path):
        return bool(cls._below(path))

    @classmethod
    def listdir(cls, path):
        below = cls._below(path)
        prefix = path.rstrip("/") + "/"
        names = [name[len(prefix) :].partition("/") for name in below]
        return sorted({head + slash for head, slash, _ in names})

    @classmethod
    def makedirs(cls, path):
        pass

    mkdir = makedirs

    @classmethod
    def remove(cls, path):
        cls._get(path)
        cls.on_change()
        del cls.objects[path]

    @classmethod
    def rename(cls, src, dst, overwrite=False):
        for name in [src] if src in cls.objects else cls._below(src):
            cls.copy(name, dst + name[len(src) :], overwrite)
            cls.remove(name)

    @classmethod
    def rmtree(cls, path):
        for name in cls._below(path):
            cls.remove(name)

    @classmethod
    def stat(cls, path):
        raise NotImplementedError

    @classmethod
    def walk(cls, top, topdown=True, onerror=None):
        names = cls.listdir(top)
        folders = [name.rstrip("/") for name in names if name.endswith("/")]
        yield top, folders, [name for name in names if not name.endswith("/")]
        for folder in folders:
            yield from cls.walk(posixpath.join(top, folder))


def register_object_store():
    """Lets TFX's `fileio` know `objects://`, with nothing in it."""
    filesystem_registry.DEFAULT_FILESYSTEM_REGISTRY.register(ObjectStore, priority=0)
    ObjectStore.objects.clear()


class Killed(BaseException):
    """The process ends here."""


@contextlib.contextmanager
def killed_at(step, patch):
    """Kills the program before its `step`-th change of a file, local or in the store.

    Args:
      step: From 1 on.
      patch: A monkeypatch context.

    Yields:
      A list of the steps that were begun.
    """
    begun = []

    def change(name):
        begun.append(name)
        if len(begun) >= step:
            raise Killed(name)

    def counted(name, function):
        def wrapped(path, *args, **kwargs):
            local = not path.startswith("objects://")
            target = args[0] if name == "copy" else path
            writes = name != "open" or "w" in (*args, kwargs.get("mode", "r"))
            if local and not target.startswith("objects://") and writes:
                change(name)
            return function(path, *args, **kwargs)

        return wrapped

    for name in _CHANGES:
        patch.setattr(fileio, name, counted(name, getattr(fileio, name)))
    patch.setattr(ObjectStore, "on_change", staticmethod(lambda: change("object")))
    yield begun
