"""Recognises CEL's macros in the folds that the library expanded them to."""

from __future__ import annotations

from services.risk.conditions.cel.syntax_tree import Call, Expr, ListOf, Literal, Loop, Name, Other, Select


class UnsupportedError(ValueError):
    """A form that CEL allows and that is not compiled; `node_id` tells where."""

    def __init__(self, node_id: int, message: str) -> None:
        super().__init__(message)
        self.node_id = node_id


class MacroError(ValueError):
    """Something that can never be evaluated; `node_id` tells where."""

    def __init__(self, node_id: int, message: str) -> None:
        super().__init__(message)
        self.node_id = node_id


def names(expr: Expr) -> set[str]:
    """The variables that an expression takes from around it."""
    if isinstance(expr, Name):
        return {expr.name}
    if isinstance(expr, Select):
        return names(expr.operand)
    if isinstance(expr, Call):
        return set().union(*map(names, expr.args))
    if isinstance(expr, ListOf):
        return set().union(*map(names, expr.elements))
    if isinstance(expr, Loop):
        return names(expr.range) | (names(expr.step) - {expr.variable, expr.accumulator})
    return set().union(*map(names, expr.parts)) if isinstance(expr, Other) else set()


def macro_of(expr: Loop) -> tuple[str, Expr]:
    """Which macro a fold came from, and its predicate. Raises UnsupportedError for another fold."""
    step = expr.step
    accumulates = (
        isinstance(step, Call)
        and step.args
        and isinstance(step.args[0], Name)
        and step.args[0].name == expr.accumulator
    )
    if isinstance(step, Call) and accumulates and isinstance(expr.initial, Literal):
        if step.function == "_||_" and expr.initial.value is False:
            return "exists", step.args[1]
        if step.function == "_&&_" and expr.initial.value is True:
            return "all", step.args[1]
    if isinstance(step, Call) and step.function == "_?_:_":
        if isinstance(expr.initial, Literal) and isinstance(expr.result, Call) and expr.result.function == "_==_":
            return "exists_one", step.args[0]
        if isinstance(expr.initial, ListOf) and _appends_variable(step.args[1], expr.variable):
            return "filter", step.args[0]
    raise UnsupportedError(expr.id, "this macro is not compiled; exists, all, exists_one and the size of a filter are")


def _appends_variable(expr: Expr, variable: str) -> bool:
    if not isinstance(expr, Call) or expr.function != "_+_" or not isinstance(expr.args[1], ListOf):
        return False
    element = expr.args[1].elements[0]
    return isinstance(element, Name) and element.name == variable
