"""The page of data elements says what the contract says, and every element has a field."""

from tools import data_elements


def test_the_page_of_data_elements_is_up_to_date() -> None:
    assert data_elements.PAGE.read_text("utf-8") == data_elements.page(), "run tools/data_elements.py"


def test_every_data_element_has_a_field() -> None:
    assert {number for number, _, _ in data_elements.rows()} == set(data_elements.ELEMENTS) == set(range(1, 42))
