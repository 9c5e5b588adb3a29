"""Which versions a policy picks, and the order in which they come and go."""

import pytest
from google.protobuf import text_format

from serving.version_policy import Load, Unload, VersionPolicy, next_action, wanted_versions


@pytest.mark.parametrize(
    ("policy", "present", "wanted"),
    [
        ("", [1, 5, 3], {5}),
        ("latest {}", [1, 5, 3], {5}),
        ("latest { num_versions: 2 }", [1, 5, 3], {5, 3}),
        ("latest { num_versions: 9 }", [1, 5], {5, 1}),
        ("all {}", [1, 5, 3], {1, 3, 5}),
        ("specific { versions: 1 versions: 5 }", [1, 5, 3], {1, 5}),
        ("specific { versions: 1 versions: 4 }", [1, 5, 3], {1}),
        ("specific { versions: 4 }", [1, 5, 3], set()),
        ("specific {}", [1], set()),
        ("all {}", [], set()),
    ],
)
def test_wanted_versions(policy, present, wanted):
    assert wanted_versions(text_format.Parse(policy, VersionPolicy()), present) == wanted


@pytest.mark.parametrize(
    ("wanted", "serving", "loadable", "action"),
    [
        (set(), set(), set(), None),
        # The highest comes first.
        ({1, 2}, set(), {1, 2}, Load(2)),
        ({1, 2}, {2}, {1}, Load(1)),
        # The only version that serves stays until its successor does, however long that takes.
        ({2}, {1}, {2}, Load(2)),
        ({2}, {1}, set(), None),
        ({2}, {1, 2}, set(), Unload(1)),
        # One survivor is enough.
        ({4}, {1, 2, 3}, {4}, Unload(1)),
        ({4}, {2, 3}, {4}, Unload(2)),
        ({4}, {3}, {4}, Load(4)),
        # Another wanted version serves, so room is made first.
        ({2, 3}, {1, 2}, {3}, Unload(1)),
        # Nothing is wanted any more.
        (set(), {1, 2}, set(), Unload(1)),
        (set(), {2}, set(), Unload(2)),
    ],
)
def test_next_action(wanted, serving, loadable, action):
    assert next_action(wanted, serving, loadable) == action
