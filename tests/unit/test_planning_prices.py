import pytest

from factory.errors import ConfigError
from factory.planning.prices import read_prices

GOOD = "date: 2026-01-01\nnote: x\nstorage_gib_month: 0.02\ngpu_hours: {h100: {on_demand: 5, bf16_tflops: 989}}\n"


def refusal(path) -> str:
    with pytest.raises(ConfigError) as caught:
        read_prices(str(path))
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_the_projects_own_table_can_be_read_and_asks_to_be_checked():
    prices = read_prices(None)
    assert prices.gpu("h100").on_demand > 0
    assert "check these" in prices.note


def test_a_gpu_that_the_table_has_not_is_told_with_those_that_it_has(tmp_path):
    (tmp_path / "p.yaml").write_text(GOOD)
    with pytest.raises(ConfigError, match=r"planning.gpu is 'b300': the price table has h100"):
        read_prices(str(tmp_path / "p.yaml")).gpu("b300")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("gpu_hours: [", "not YAML"),
        ("", "the file: "),
        (GOOD.replace("date: 2026-01-01\n", ""), "date: field required"),
        (GOOD.replace("5,", "-5,"), "gpu_hours.h100.on_demand: input should be greater than or equal to 0"),
        (GOOD + "discount: 3\n", "discount: extra inputs are not permitted"),
    ],
)
def test_what_is_wrong_in_a_price_table_is_told_in_a_line(tmp_path, text, said):
    path = tmp_path / "p.yaml"
    path.write_text(text)
    assert said in refusal(path)
    assert str(path) in refusal(path)


def test_a_missing_price_table_is_told(tmp_path):
    assert "No such file" in refusal(tmp_path / "none.yaml")
