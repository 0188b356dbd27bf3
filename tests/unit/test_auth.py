from __future__ import annotations

import pytest

from server.auth import BearerKeys
from server.errors import Unauthorized

KEYS = BearerKeys(["first", "schlüssel"])


@pytest.mark.parametrize("value", [b"Bearer first", b"bearer first", b"BEARER  first ", "Bearer schlüssel".encode()])
def test_a_known_key_passes(value: bytes) -> None:
    KEYS.check([(b"host", b"x"), (b"authorization", value)])


@pytest.mark.parametrize(
    "value",
    [b"", b"first", b"Bearer", b"Bearer ", b"Basic first", b"Bearer firs", b"Bearer first2", b"Bearer \xff\xfe"],
)
def test_any_other_is_refused(value: bytes) -> None:
    with pytest.raises(Unauthorized) as error:
        KEYS.check([(b"authorization", value)])
    assert error.value.code == "invalid_api_key"


def test_no_key_is_refused() -> None:
    with pytest.raises(Unauthorized) as error:
        KEYS.check([(b"host", b"x")])
    assert error.value.code == "missing_api_key"


def test_without_keys_nobody_passes() -> None:
    for keys in (BearerKeys([]), BearerKeys([""])):
        with pytest.raises(Unauthorized):
            keys.check([(b"authorization", b"Bearer ")])


def test_the_key_may_stand_where_anthropics_clients_send_it() -> None:
    keys = BearerKeys(["first"])
    keys.check([(b"x-api-key", b"first")])
    with pytest.raises(Unauthorized):
        keys.check([(b"x-api-key", b"other")])
    with pytest.raises(Unauthorized):
        keys.check([(b"authorization", b"Bearer other"), (b"x-api-key", b"first")])
