"""Generated conditions and the rows that they are judged on: what overflows, divides by zero, is absent, negative or
empty is drawn more often than chance would.
"""

from functools import cache
from typing import Any

from hypothesis import strategies as st

from libs.columns import Bools, Ints, Ragged, Strings, Table, schema_of
from luxor.consignment.v1.consignment_columns_pb2 import ConsignmentColumns, ItemColumns
from services.risk.conditions.cel.vocabulary import Data, Vocabulary

INT_MAX, INT_MIN = 2**63 - 1, -(2**63)
#: The last two are ordered by code points, which UTF-16 would turn round.
WORDS = ["gift", "toy", "Ünïcode", "gift toy", "61", "62", "a", "\uff5e", "\U0001f381"]
DATA: Data = {
    "words": ("gift", "toy car"),
    "floors": {"61": 500, "62": -3, "gift": INT_MAX},
    "terms": {"61": ("toy", "shirt"), "toy": ("gift",)},
}
VOCABULARY = Vocabulary(DATA)

integers = st.one_of(
    st.integers(-9, 9),
    st.sampled_from([INT_MAX, INT_MIN, INT_MAX - 1, 2**32, -(2**31), 3 * 10**9]),
    st.integers(INT_MIN, INT_MAX),
)
ROWS, DEPTHS, NUMBERS = st.integers(0, 4), st.integers(1, 5), st.lists(integers, max_size=4)


# --- data: a strategy is made once, since to make one takes longer than to draw from it -------------------------------


@cache
def ints(rows: int) -> st.SearchStrategy[Ints]:
    cells = st.lists(st.tuples(integers, st.sampled_from([True, True, True, False])), min_size=rows, max_size=rows)
    return cells.map(lambda pairs: Ints.of([value for value, _ in pairs], [valid for _, valid in pairs]))


@cache
def bools(rows: int) -> st.SearchStrategy[Bools]:
    cells = st.lists(st.sampled_from([(True, True), (False, True), (False, False)]), min_size=rows, max_size=rows)
    return cells.map(lambda pairs: Bools.of([value for value, _ in pairs], [valid for _, valid in pairs]))


@cache
def strings(rows: int) -> st.SearchStrategy[Strings]:
    return st.lists(st.sampled_from([*WORDS, ""]), min_size=rows, max_size=rows).map(Strings.of)


@cache
def item_counts(rows: int) -> st.SearchStrategy[list[int]]:
    return st.lists(st.integers(0, 3), min_size=rows, max_size=rows)


@cache
def country_lists(rows: int) -> st.SearchStrategy[list[list[str]]]:
    return st.lists(st.lists(st.sampled_from(WORDS), max_size=3), min_size=rows, max_size=rows)


@cache
def one_of(choices: tuple[Any, ...]) -> st.SearchStrategy[Any]:
    return st.sampled_from(choices)


@st.composite
def tables(draw: st.DrawFn) -> Table:
    rows = draw(ROWS)
    counts = draw(item_counts(rows))
    below = sum(counts)
    routes = draw(country_lists(rows))
    items = Table(
        schema_of(ItemColumns),
        below,
        {
            "quantity_milli": draw(ints(below)),
            "price_minor": draw(ints(below)),
            "description": draw(strings(below)),
            "commodity_code": draw(strings(below)),
            "gift": draw(bools(below)),
        },
    )
    return Table.of(
        ConsignmentColumns,
        rows,
        {
            "gross_mass_mg": draw(ints(rows)),
            "freight_minor": draw(ints(rows)),
            "consignor_name": draw(strings(rows)),
            "procedure": draw(strings(rows)),
            "split": draw(bools(rows)),
            "prices_include_tax": draw(bools(rows)),
            "transport_route_countries": Ragged.of_lengths(
                [len(route) for route in routes], Strings.of([c for route in routes for c in route])
            ),
            "items": Ragged.of_lengths(counts, items),
        },
    )


# --- expressions: text of a well-typed expression, given the variables in scope ---------------------------------------

COLUMNS = {
    "consignment": {
        "int": ["gross_mass_mg", "freight_minor"],
        "string": ["consignor_name", "procedure"],
        "bool": ["split", "prices_include_tax"],
    },
    "item": {"int": ["quantity_milli", "price_minor"], "string": ["description", "commodity_code"], "bool": ["gift"]},
}


def quoted(text: str) -> str:
    return f"'{text}'"


class Grammar:
    """Draws expressions; `scope` maps a variable to what it is: consignment, item or string."""

    def __init__(self, draw: st.DrawFn, foreign: bool = False, guarded: bool = False) -> None:
        self.draw = draw
        #: Whether to draw forms that are not compiled, and whether to draw many that ask a column for one of few values.
        self.foreign, self.guarded = foreign, guarded
        self.variables = 0

    def pick(self, *choices: Any) -> Any:
        return self.draw(one_of(choices))

    def leaf(self, kind: str, scope: dict[str, str]) -> str:
        names = [
            f"{name}.{column}" for name, what in scope.items() if what in COLUMNS for column in COLUMNS[what][kind]
        ]
        names += [name for name, what in scope.items() if what == kind]
        if self.pick(True, True, False):
            return str(self.pick(*names))
        if kind == "int":
            number = self.draw(integers)
            return str(number) if number >= 0 else f"({number})"
        return quoted(self.pick(*WORDS)) if kind == "string" else self.pick("true", "false")

    def expression(self, kind: str, scope: dict[str, str], depth: int) -> str:
        if depth <= 0:
            return self.leaf(kind, scope) if kind != "double" else f"double({self.leaf('int', scope)})"
        return str(getattr(self, f"of_{kind}")(scope, depth - 1))

    def of_int(self, scope: dict[str, str], depth: int) -> str:
        form = self.pick("leaf", "binary", "binary", "binary", "negate", "choose", "size", "count", "floor", "int")
        if form == "binary":
            left, right = self.expression("int", scope, depth), self.expression("int", scope, depth)
            return f"({left} {self.pick('+', '-', '*', '/', '%')} {right})"
        if form == "negate":
            return f"-({self.expression('int', scope, depth)})"
        if form == "choose":
            return self.choose("int", scope, depth)
        if form == "size":
            return str(
                self.pick(
                    f"size({self.expression('string', scope, depth)})",
                    "size(consignment.items)",
                    "consignment.transport_route_countries.size()",
                )
            )
        if form == "count":
            return self.macro("filter", scope, depth)
        if form == "floor":
            return f"data.floors[{self.expression('string', scope, depth)}]"
        if form == "int":
            return f"int({self.expression('double', scope, depth)})"
        return self.leaf("int", scope)

    def of_double(self, scope: dict[str, str], depth: int) -> str:
        form = self.pick("of int", "literal", "binary", "negate", "choose")
        if form == "of int":
            return f"double({self.expression('int', scope, depth)})"
        if form == "binary":
            left, right = self.expression("double", scope, depth), self.expression("double", scope, depth)
            return f"({left} {self.pick('+', '-', '*', '/')} {right})"
        if form == "negate":
            return f"-({self.expression('double', scope, depth)})"
        if form == "choose":
            return self.choose("double", scope, depth)
        return str(self.pick("0.0", "1.5", "2.0e18", "1e300", "-0.0", "9223372036854775807.0"))

    def of_string(self, scope: dict[str, str], depth: int) -> str:
        form = self.pick("leaf", "leaf", "concat", "choose", "normal")
        if form == "concat":
            return f"({self.expression('string', scope, depth)} + {self.expression('string', scope, depth)})"
        if form == "choose":
            return self.choose("string", scope, depth)
        if form == "normal":
            return f"normal({self.expression('string', scope, depth)})"
        return self.leaf("string", scope)

    def choose(self, kind: str, scope: dict[str, str], depth: int) -> str:
        parts = (
            self.expression("bool", scope, depth),
            self.expression(kind, scope, depth),
            self.expression(kind, scope, depth),
        )
        return "({} ? {} : {})".format(*parts)

    def guard(self, scope: dict[str, str]) -> str:
        """A question whether a column has one of few values."""
        name = self.pick(*(name for name, what in scope.items() if what in COLUMNS))
        text = f"{name}.{self.pick(*COLUMNS[scope[name]]['string'])}"
        number = f"{name}.{self.pick(*COLUMNS[scope[name]]['int'])}"
        return str(
            self.pick(
                f"{text} == '{self.pick('61', 'gift')}'",
                f"'toy' == {text}",
                f"{text} in ['61', 'toy', 'none']",
                f"{text} in data.words",
                f"{text} in data.floors",
                f"{text}.startsWith('{self.pick('6', 'gi', '')}')",
                f"{number} == {self.pick('0', '3', '7')}",
                f"{number} in [1, 2]",
            )
        )

    def foreigner(self, scope: dict[str, str], depth: int) -> str:
        """A truth value of a form that is not compiled."""
        number, text = self.expression("int", scope, depth), self.expression("string", scope, depth)
        self.variables += 1
        variable = f"w{self.variables}"
        return str(
            self.pick(
                f"consignment.items[{self.pick('0', '1', '-1', number)}].price_minor < {number}",
                f"consignment.items.map({variable}, {variable}.price_minor).exists(p{variable}, p{variable} == {number})",
                f"consignment.items.map({variable}, {variable}.description) == ['gift', {text}]",
                f"{text}.matches({self.column_of('string', scope)})",
                f"string({number}) == '1'",
                f"[{number}, {self.column_of('int', scope)}].exists({variable}, {variable} > 0)",
                f"consignment.transport_route_countries == ['gift', {text}]",
                f"{{'gift': {number}}}[{text}] > 1",
                f"timestamp({number}) < timestamp(3)",
                f"{number} in [{self.column_of('int', scope)}, 1]",
            )
        )

    def column_of(self, kind: str, scope: dict[str, str]) -> str:
        name = self.pick(*(name for name, what in scope.items() if what in COLUMNS))
        return f"{name}.{self.pick(*COLUMNS[scope[name]][kind])}"

    def of_bool(self, scope: dict[str, str], depth: int) -> str:
        if self.foreign and self.pick(True, False, False):
            return f"({self.foreigner(scope, depth - 2)})"
        if self.guarded and self.pick(True, False):
            operator = self.pick("&&", "&&", "||")
            return f"({self.guard(scope)} {operator} {self.expression('bool', scope, depth)})"
        form = self.pick(
            "leaf",
            "logic",
            "logic",
            "not",
            "compare",
            "compare",
            "equal",
            "null",
            "has",
            "in",
            "text",
            "macro",
            "macro",
            "choose",
        )
        if form == "logic":
            return f"({self.expression('bool', scope, depth)} {self.pick('&&', '||')} {self.expression('bool', scope, depth)})"
        if form == "not":
            return f"!({self.expression('bool', scope, depth)})"
        if form in ("compare", "equal"):
            kind = self.pick("int", "int", "double", "string", "bool")
            operator = self.pick("<", "<=", ">", ">=") if form == "compare" else self.pick("==", "!=")
            return f"({self.expression(kind, scope, depth)} {operator} {self.expression(kind, scope, depth)})"
        if form == "null":
            return f"({self.column(scope)} {self.pick('==', '!=')} null)"
        if form == "has":
            return f"has({self.pick(self.column(scope), 'consignment.items', 'consignment.transport_route_countries')})"
        if form == "in":
            return self.membership(scope, depth)
        if form == "text":
            return self.text(scope, depth)
        if form == "macro":
            return self.macro(self.pick("exists", "all", "exists_one"), scope, depth)
        if form == "choose":
            return self.choose("bool", scope, depth)
        return self.leaf("bool", scope)

    def column(self, scope: dict[str, str]) -> str:
        names = [name for name, what in scope.items() if what in COLUMNS]
        name = self.pick(*names)
        return f"{name}.{self.pick(*(c for columns in COLUMNS[scope[name]].values() for c in columns))}"

    def membership(self, scope: dict[str, str], depth: int) -> str:
        if self.pick(True, False):
            numbers = self.draw(NUMBERS)
            return f"({self.expression('int', scope, depth)} in {numbers})"
        places = (
            "['gift', '61']",
            "data.words",
            "data.floors",
            "data.terms[" + self.leaf("string", scope) + "]",
            "consignment.transport_route_countries",
        )
        return f"({self.expression('string', scope, depth)} in {self.pick(*places)})"

    def text(self, scope: dict[str, str], depth: int) -> str:
        subject = self.expression("string", scope, depth)
        function = self.pick(
            "startsWith", "endsWith", "contains", "matches", "hasWord", "onlyWords", "isVague", "lookup"
        )
        if function == "matches":
            return f"{subject}.matches({self.pick(quoted('^g.f'), quoted('(?i)TOY'), quoted('[0-9]+$'), quoted('^$'))})"
        if function in ("hasWord", "onlyWords"):
            return f"{subject}.{function}({self.pick('data.words', quoted('gift').join('[]'), 'data.terms[' + self.leaf('string', scope) + ']')})"
        if function == "isVague":
            return f"{subject}.isVague()"
        if function == "lookup":
            return f"({subject} in data.terms && {subject}.hasWord(data.terms[{subject}]))"
        return f"{subject}.{function}({self.expression('string', scope, depth)})"

    def macro(self, name: str, scope: dict[str, str], depth: int) -> str:
        self.variables += 1
        variable = f"v{self.variables}"
        ranged, what = self.pick(
            ("consignment.items", "item"),
            ("consignment.items", "item"),
            ("consignment.transport_route_countries", "string"),
        )
        if name in ("exists", "all") and self.pick(False, False, False, True):
            ranged, what = self.pick(("['gift', 'toy']", "string"), ("data.words", "string"), ("[1, -1, 0]", "int"))
        body = self.expression("bool", {**scope, variable: what}, depth)
        call = f"{ranged}.{name}({variable}, {body})"
        return f"{call}.size()" if name == "filter" else call


@st.composite
def conditions(draw: st.DrawFn, on_items: bool, foreign: bool = False, guarded: bool = False) -> str:
    """The text of a condition on consignments or items."""
    scope = {"consignment": "consignment", "item": "item"} if on_items else {"consignment": "consignment"}
    return Grammar(draw, foreign, guarded).expression("bool", scope, draw(DEPTHS))
