import pytest

from factory.config import Gpus
from factory.errors import ConfigError
from factory.planning.prices import read_prices

GOOD = "date: 2026-01-01\nnote: x\nstorage_gib_month: 0.02\ngpu_hours: {h100: {on_demand: 5, bf16_tflops: 989}}\n"


def error_message(path) -> str:
    with pytest.raises(ConfigError) as caught:
        read_prices(str(path))
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_own_price_table_is_read_and_has_a_warning():
    prices = read_prices(None)
    assert prices.gpus(Gpus())["synthesis"].on_demand > 0
    assert "check these" in prices.note


def test_unknown_gpu_is_reported_with_known_ones(tmp_path):
    (tmp_path / "p.yaml").write_text(GOOD)
    with pytest.raises(ConfigError, match=r"planning.gpu is 'b300': the price table has h100"):
        read_prices(str(tmp_path / "p.yaml")).gpus(Gpus(judges="b300"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("gpu_hours: [", "not YAML"),
        ("", "the file: "),
        (GOOD.replace("date: 2026-01-01\n", ""), "date: field required"),
        (GOOD.replace("5,", "-5,"), "gpu_hours.h100.on_demand: input should be greater than or equal to 0"),
        (GOOD + "discount: 3\n", "discount: extra inputs are not permitted"),
    ],
)
def test_invalid_price_table_is_reported_in_one_line(tmp_path, text, message):
    path = tmp_path / "p.yaml"
    path.write_text(text)
    assert message in error_message(path)
    assert str(path) in error_message(path)


def test_missing_price_table_is_reported(tmp_path):
    assert "No such file" in error_message(tmp_path / "none.yaml")
