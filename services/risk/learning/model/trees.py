"""Trees evaluated by numpy over whole batches, read from the text that LightGBM writes.

QuickScorer (Lucchese et al., SIGIR 2015): leaves of a tree are numbered from left to right and each is a bit. A node whose
condition fails clears the leaves of its left subtree; the lowest bit that is left is the leaf that the row falls into. All
cuts of one feature, over all trees, are sorted, and for each interval between them the masks are combined beforehand, so a
row costs one look-up for each feature. It takes a third of the time of LightGBM's own walk, a service needs no LightGBM
to score, and a text is checked before it is used.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from services.risk.learning.features.sample import Floats, Numbers

LEAVES_MAX: Final = 64
"""Leaves of a tree: as many as a word has bits."""
TREES_MAX: Final = 2_000
CATEGORIES_MAX: Final = 65_536
TABLE_BYTES_MAX: Final = 128_000_000
"""What the masks of all features may take together."""
BLOCK_ROWS: Final = 1_024
"""Rows that are evaluated at once: their masks stay in the processor's cache."""
TEXT_VERSION: Final = "v4"
OBJECTIVE: Final = "binary sigmoid:1"

_CATEGORY: Final = 1
_DEFAULT_LEFT: Final = 2
_MISSING_NAN: Final = 2

Words = npt.NDArray[np.unsignedinteger[Any]]
Leaves = npt.NDArray[np.integer[Any]]


@dataclass(frozen=True)
class TreeNode:
    """A split: a row goes left where its value is at most the cut, or is one of the categories."""

    feature: int
    cut: float
    categories: frozenset[int] | None
    unknown_left: bool
    """Where a row goes whose value is unknown."""
    left: int
    right: int
    """A node's place, or a leaf's as LightGBM writes it: minus one minus its place."""
    value: float
    """What a row that comes here would get if the tree ended here."""


@dataclass(frozen=True)
class Tree:
    """A tree, its root first; a tree of one leaf has no nodes."""

    nodes: tuple[TreeNode, ...]
    leaves: tuple[float, ...]


class Forest:
    """The trees of all members of a model, ready for batches."""

    def __init__(self, members: Sequence[Sequence[Tree]], features: int) -> None:
        """Take each member's trees. Raises ValueError where they are too many or too large."""
        trees = [tree for member in members for tree in member]
        if len(trees) > TREES_MAX:
            raise ValueError(f"the model has {len(trees)} trees, more than {TREES_MAX}; train with fewer")
        self.features = features
        self.trees = len(trees)
        self._starts = np.cumsum([0, *(len(member) for member in members)])[:-1]
        self._width = max(16, 1 << (max(len(tree.leaves) for tree in trees) - 1).bit_length())
        self._kind: Any = {16: np.uint16, 32: np.uint32, 64: np.uint64}[self._width]
        self._values = np.zeros((self.trees, self._width))
        self._offsets = np.arange(self.trees, dtype=np.int64) * self._width
        walks = [_Walk(tree) for tree in trees]
        for place, walk in enumerate(walks):
            self._values[place, : len(walk.leaves)] = walk.leaves
        self._flat = self._values.reshape(-1)
        self._tables = [
            table
            for feature in range(features)
            if (table := _table(feature, walks, self._kind, self._width)) is not None
        ]
        if sum(table.masks.nbytes for table in self._tables) > TABLE_BYTES_MAX:
            raise ValueError(
                f"the model's trees need more than {TABLE_BYTES_MAX} bytes; train with fewer or smaller ones"
            )
        self._paths = _Paths(walks, self._width)

    def leaves(self, matrix: Floats) -> Leaves:
        """The leaf that each row falls into in each tree, counted from the left over all trees: rows x trees."""
        found = np.empty((len(matrix), self.trees), np.int64)
        for start in range(0, len(matrix), BLOCK_ROWS):
            block = matrix[start : start + BLOCK_ROWS]
            masks: Any = np.full((len(block), self.trees), ~np.array(0, self._kind), self._kind)
            one = np.empty_like(masks)
            for table in self._tables:
                table.masks.take(table.rows(block[:, table.feature]), axis=0, out=one, mode="clip")
                np.bitwise_and(masks, one, out=masks)
            np.add(_lowest(masks), self._offsets, out=found[start : start + len(block)])
        return found

    def log_odds(self, leaves: Leaves) -> Floats:
        """Each member's log-odds: rows x members."""
        sums: Floats = np.add.reduceat(self._flat.take(leaves), self._starts, axis=1)
        return sums

    def contributions(self, leaves: Leaves) -> tuple[Floats, Floats]:
        """What each feature added on the rows' paths, rows x features, and what each row starts from; means of the members.

        Of each split that a row passes, by how much it moved what the tree expects (Saabas 2014). With the start they add
        up to the mean of the log-odds exactly.
        """
        weights = np.repeat(1 / (len(self._starts) * np.ones(len(self._starts))), np.diff([*self._starts, self.trees]))
        return self._paths.totals(leaves, weights, self.features)


class _Walk:
    """A tree walked from left to right: its leaves in that order, for each node the leaves on its left, for each leaf its path."""

    def __init__(self, tree: Tree) -> None:
        self.tree = tree
        self.leaves: list[float] = []
        self.left = [0] * len(tree.nodes)
        #: Per leaf what each split on the way to it added, by feature, and what the tree starts from.
        self.paths: list[list[tuple[int, float]]] = []
        self.base = tree.nodes[0].value if tree.nodes else tree.leaves[0]
        if tree.nodes:
            self._go(0, self.base, [])
        else:
            self.leaves.append(tree.leaves[0])
            self.paths.append([])

    def _go(self, place: int, value: float, path: list[tuple[int, float]]) -> int:
        """Walk below a node or leaf; gives the bits of its leaves."""
        if place < 0:
            self.leaves.append(self.tree.leaves[~place])
            self.paths.append(path)
            return 1 << (len(self.leaves) - 1)
        node = self.tree.nodes[place]
        bits = []
        for child in (node.left, node.right):
            after = self.tree.leaves[~child] if child < 0 else self.tree.nodes[child].value
            bits.append(self._go(child, after, [*path, (node.feature, after - value)]))
        self.left[place] = bits[0]
        return bits[0] | bits[1]


@dataclass(frozen=True)
class _Table:
    """The masks of one feature: for each interval of its values, and last for unknown ones, one word a tree."""

    feature: int
    cuts: Floats | None
    """The cuts, rising; None for categories, whose number is the interval."""
    masks: Words

    def rows(self, values: Floats) -> Numbers:
        unknown = np.isnan(values)
        if self.cuts is None:
            last = len(self.masks) - 1
            known = np.where(unknown, -1.0, np.trunc(values))
            return np.where((known < 0) | (known >= last), last, known).astype(np.int64)
        places = np.searchsorted(self.cuts, values)
        places[unknown] = len(self.masks) - 1
        return places


def _table(feature: int, walks: Sequence[_Walk], kind: Any, width: int) -> _Table | None:
    splits = [
        (place, node, walk.left[number])
        for place, walk in enumerate(walks)
        for number, node in enumerate(walk.tree.nodes)
        if node.feature == feature
    ]
    if not splits:
        return None
    every = (1 << width) - 1
    cuts = None
    if splits[0][1].categories is None:
        cuts = np.unique([node.cut for _, node, _ in splits])
        intervals = len(cuts) + 1
    else:
        intervals = 1 + max(max(node.categories or {0}) for _, node, _ in splits)
    if (intervals + 1) * len(walks) * width // 8 > TABLE_BYTES_MAX:
        raise ValueError(
            f"feature {feature} has {intervals} intervals in {len(walks)} trees; train with fewer or smaller ones"
        )
    masks = np.full((intervals + 1, len(walks)), every, kind)
    for place, node, left in splits:
        cleared = kind(every & ~left)
        if cuts is None:
            assert node.categories is not None
            others = np.ones(intervals + 1, np.bool_)
            others[list(node.categories)] = False
            masks[others, place] &= cleared
            continue
        masks[np.searchsorted(cuts, node.cut) + 1 : intervals, place] &= cleared
        if not node.unknown_left:
            masks[intervals, place] &= cleared
    return _Table(feature, cuts, masks)


def _lowest(words: Words) -> npt.NDArray[Any]:
    """The place of the lowest bit of each word; none is 0, since a row falls into some leaf."""
    if words.dtype == np.uint16:
        return _LOWEST_OF_16[words]
    lowest = words & (~words + words.dtype.type(1))
    # A power of two is exact in a float, and so is its logarithm.
    return np.log2(lowest.astype(np.float64)).astype(np.int64)


def _lowest_of_16() -> npt.NDArray[np.uint8]:
    numbers = np.arange(1 << 16)
    places: npt.NDArray[np.uint8] = np.log2(np.maximum(numbers & -numbers, 1)).astype(np.uint8)
    return places


_LOWEST_OF_16: Final = _lowest_of_16()


class _Paths:
    """What each leaf's path adds, by feature: the entries of all leaves one after the other."""

    def __init__(self, walks: Sequence[_Walk], width: int) -> None:
        lengths = np.zeros(len(walks) * width, np.int64)
        features: list[int] = []
        amounts: list[float] = []
        for place, walk in enumerate(walks):
            for leaf, path in enumerate(walk.paths):
                lengths[place * width + leaf] = len(path)
                features += [feature for feature, _ in path]
                amounts += [amount for _, amount in path]
        self._lengths = lengths
        self._starts = np.cumsum(lengths) - lengths
        self._features = np.array(features, np.int64)
        self._amounts = np.array(amounts, np.float64)
        self._bases = np.array([walk.base for walk in walks])

    def totals(self, leaves: Leaves, weights: Floats, features: int) -> tuple[Floats, Floats]:
        rows, trees = leaves.shape
        flat = leaves.reshape(-1)
        lengths = self._lengths[flat]
        ends = np.cumsum(lengths)
        total = int(ends[-1]) if len(ends) else 0
        entries = np.arange(total) - np.repeat(ends - lengths - self._starts[flat], lengths)
        cells = np.repeat(np.arange(rows * trees) // max(trees, 1), lengths) * features + self._features[entries]
        amounts = self._amounts[entries] * np.repeat(np.tile(weights, rows), lengths)
        sums: Floats = np.bincount(cells, amounts, rows * features).astype(np.float64).reshape(rows, features)
        return sums, np.full(rows, float((self._bases * weights).sum()))


# ---------------------------------------------------------------------------------------------------------- reading


def read_trees(text: str, names: Sequence[str], categories: Sequence[int]) -> list[Tree]:
    """Read LightGBM's text of a model of two classes. `names` are the features and `categories` the places of those that are
    categories; it must have just these.

    Raises ValueError, telling what is wrong with it.
    """
    head, *blocks = text.partition("\nend of trees\n")[0].split("\nTree=")
    facts = _facts(head)
    if not text.startswith("tree\n") or "\nend of trees\n" not in text:
        raise ValueError("it is no whole LightGBM model")
    if facts.get("version") != TEXT_VERSION:
        told = facts.get("version", "none")
        raise ValueError(
            f"it is of LightGBM's version {told} of the text; {TEXT_VERSION} is read: train with LightGBM 4"
        )
    if facts.get("objective") != OBJECTIVE or facts.get("num_tree_per_iteration") != "1":
        raise ValueError(
            f"its objective is {facts.get('objective', 'none')!r}, not {OBJECTIVE!r} with one tree a round"
        )
    if facts.get("feature_names", "").split(" ") != list(names):
        raise ValueError("it has other features than the recipe, or in another order")
    if not blocks:
        raise ValueError("it has no trees")
    return [_tree(number, _facts(block), len(names), frozenset(categories)) for number, block in enumerate(blocks)]


def _facts(block: str) -> dict[str, str]:
    return {name: value for line in block.splitlines() for name, equals, value in [line.partition("=")] if equals}


def _tree(number: int, facts: dict[str, str], features: int, categories: frozenset[int]) -> Tree:
    try:
        leaves = tuple(_finite(facts["leaf_value"]))
        count = len(leaves) - 1
        if not 0 <= count < LEAVES_MAX or int(facts["num_leaves"]) != count + 1 or facts.get("is_linear", "0") != "0":
            raise ValueError(f"it has {facts['num_leaves']} leaves, at most {LEAVES_MAX} with one number each are read")
        if count == 0:
            return Tree((), leaves)
        split, decisions = _whole(facts["split_feature"]), _whole(facts["decision_type"])
        left, right = _whole(facts["left_child"]), _whole(facts["right_child"])
        cuts, values = _cuts(facts["threshold"]), _finite(facts["internal_value"])
        if {len(split), len(decisions), len(left), len(right), len(cuts), len(values)} != {count}:
            raise ValueError(f"its columns do not all have {count} splits")
        sets = _sets(facts)
        nodes = tuple(
            _node(feature, decision, below, beyond, cut, value, sets, features, categories)
            for feature, decision, below, beyond, cut, value in zip(
                split, decisions, left, right, cuts, values, strict=True
            )
        )
    except KeyError as error:
        raise ValueError(f"tree {number}: {error.args[0]} is absent") from None
    except ValueError as error:
        raise ValueError(f"tree {number}: {error}") from None
    children = sorted(child for node in nodes for child in (node.left, node.right))
    if children != [*range(-count - 1, 0), *range(1, count)] or any(
        0 <= child <= place for place, node in enumerate(nodes) for child in (node.left, node.right)
    ):
        raise ValueError(f"tree {number}: its splits and leaves do not make one tree")
    return Tree(nodes, leaves)


def _node(
    feature: int,
    decision: int,
    left: int,
    right: int,
    cut: float,
    value: float,
    sets: Sequence[frozenset[int]],
    features: int,
    categories: frozenset[int],
) -> TreeNode:
    if not 0 <= feature < features:
        raise ValueError(f"it splits by feature {feature} of {features}")
    if bool(decision & _CATEGORY) != (feature in categories):
        raise ValueError(
            f"it splits feature {feature} by {'sets' if decision & _CATEGORY else 'a cut'}; the recipe says otherwise"
        )
    missing = decision >> 2 & 3
    if decision & _CATEGORY:
        if not 0 <= int(cut) < len(sets):
            raise ValueError(f"it names set {cut:g} of {len(sets)}")
        # LightGBM sends what is unknown to the right.
        return TreeNode(feature, cut, sets[int(cut)], False, left, right, value)
    if missing == 1:
        raise ValueError("it takes zero for unknown; train with zero_as_missing off")
    # Where training saw no unknown value, LightGBM takes one for 0.
    unknown_left = bool(decision & _DEFAULT_LEFT) if missing == _MISSING_NAN else cut >= 0
    return TreeNode(feature, cut, None, unknown_left, left, right, value)


def _sets(facts: dict[str, str]) -> list[frozenset[int]]:
    bounds = [int(each) for each in facts.get("cat_boundaries", "").split()]
    words = [int(each) for each in facts.get("cat_threshold", "").split()]
    if bounds and (bounds[0] != 0 or bounds != sorted(bounds) or bounds[-1] != len(words)):
        raise ValueError("its sets of categories do not fit together")
    if any(not 0 <= word < 1 << 32 for word in words) or len(words) * 32 > CATEGORIES_MAX:
        raise ValueError(f"its sets of categories are malformed or name more than {CATEGORIES_MAX}")
    return [
        frozenset(
            place * 32 + bit for place, word in enumerate(words[start:end]) for bit in range(32) if word >> bit & 1
        )
        for start, end in pairwise(bounds)
    ]


def _whole(text: str) -> list[int]:
    return [int(each) for each in text.split()]


def _cuts(text: str) -> list[float]:
    """The cuts; one without bound parts what is known from what is not."""
    cuts = [float(each) for each in text.split()]
    if np.isnan(cuts).any():
        raise ValueError("it has a cut that is no number")
    return cuts


def _finite(text: str) -> list[float]:
    numbers = [float(each) for each in text.split()]
    if not np.isfinite(numbers).all():
        raise ValueError("it has a number that is not finite")
    return numbers
