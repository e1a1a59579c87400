"""A geography that cannot be is refused with the field and the rule."""

import pytest

from coterie.core.errors import ConfigurationError
from coterie.lab.stage.geography import Geography


def geography(rows: tuple[tuple[float, ...], ...], **more: object) -> Geography:
    fields = {"sites": ("a", "b"), "round_trip_ms": rows} | more
    return Geography(**fields)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("rows", "more", "said"),
    [
        (((0.0, 1.0),), {}, "1 rows for 2 sites: it must be square"),
        (((0.0, 1.0), (1.0,)), {}, "'b' has 1 columns for 2 sites"),
        (((0.0, -1.0), (-1.0, 0.0)), {}, "from 'a' to 'b' is -1.0"),
        (((0.0, float("nan")), (1.0, 0.0)), {}, "from 'a' to 'b' is nan"),
        (((0.0, 1.0), (2.0, 0.0)), {}, "one_way = true"),
        (((0.0, 1.0), (1.0, 0.0)), {"disk_ms": -1.0}, "disk_ms is -1.0"),
        (((0.0, 1.0), (1.0, 0.0)), {"sites": ("a", "a")}, "twice"),
    ],
)
def test_the_message_names_the_field(rows: tuple[tuple[float, ...], ...], more: dict[str, object], said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        geography(rows, **more)


def test_an_asymmetric_matrix_may_be_declared() -> None:
    assert geography(((0.0, 1.0), (2.0, 0.0)), one_way=True).between_ms(0, 1) == 1.5


def test_an_unknown_site_is_named_beside_those_that_there_are() -> None:
    with pytest.raises(ConfigurationError, match="'c' is no site of this network: a, b"):
        geography(((0.0, 1.0), (1.0, 0.0))).number("c")
