"""The model to beat: the newest champion, or the independent-pixel model on a first run."""

from components.lazy_exports import lazy_exports

__all__ = ["ChampionResolver"]

__getattr__ = lazy_exports(__name__, {"ChampionResolver": "component"})
