"""Formulas: against Python's own operators on truth values, algorithms, and texts that are refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mi_runner.datasets.algorithms import algorithms
from mi_runner.errors import ArgumentError
from mi_runner.models import formulas
from tests.formula_texts import evaluated, texts


@given(st.integers(2, 4).flatmap(lambda n: st.tuples(texts(n, 3), st.just(n))))
def test_a_formula_computes_what_pythons_operators_compute(drawn: tuple[str, int]) -> None:
    text, n = drawn
    wanted = evaluated(text, n)
    try:
        formula = formulas.parsed(text, n)
    except ArgumentError as error:
        assert "twice" in str(error) or ("on all inputs" in str(error) and len(set(wanted)) == 1)
        return
    assert formula.table == "".join(str(int(value)) for value in wanted)
    root = formulas.text_of(formula.root.tree)
    assert (evaluated(root, n) == (wanted ^ formula.root.complemented)).all()
    assert (evaluated(formulas.example_of(formula.table), n) == wanted).all()
    for node in formula.nodes:
        assert (formulas.values_of(node, n) == evaluated(formulas.text_of(node), n)).all()


def test_each_algorithm_of_xor_is_a_formula_with_as_many_gates() -> None:
    found = algorithms(0b0110, 2, max_depth=3)
    assert len(found) == 250
    for algorithm in found:
        formula = formulas.of_algorithm(algorithm)
        assert formula.table == "0110" and len(formula.nodes) == algorithm.n_gates
        assert evaluated(formula.text, 2).tolist() == [False, True, True, False]
        inert = [a or b for a, b in zip(algorithm.is_constant, algorithm.is_without_effect, strict=True)]
        assert list(formula.is_inert) == [False, *inert]


def test_a_gate_is_one_of_four_and_xor_is_three_of_them() -> None:
    names = {text: formulas.parsed(text, 2).nodes[0].name for text in ("A & B", "A & ~B", "~A & B", "~A & ~B")}
    assert list(names.values()) == ["and", "nimp", "converse_nimp", "nor"]
    assert [formulas.parsed(text, 2).root.complemented for text in ("A | B", "~(A & B)", "~~(A & B)")] == [1, 1, 0]
    assert formulas.parsed("A ^ B", 2).root == formulas.parsed("(A & ~B) | (~A & B)", 2).root
    assert [node.name for node in formulas.parsed("A ^ B", 2).nodes] == ["nor", "nimp", "converse_nimp"]


def test_operators_bind_as_in_python() -> None:
    assert formulas.parsed("~A & B ^ C | A & C", 3).root == formulas.parsed("(((~A) & B) ^ C) | (A & C)", 3).root


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("A &", r"formula=A &: it can't be read.* Write variables, & \| ~ \^ and parentheses"),
        ("", "it can't be read"),
        ("(" * 300 + "A" + ")" * 300, "it can't be read"),
        ("A and B", "'A and B' is no part of a formula. Write variables"),
        ("A & 1", "'1' is no part of a formula"),
        ("A + B", r"'A \+ B' is no part of a formula"),
        ("-A", "'-A' is no part"),
        ("A & D", "there is no variable D: the inputs are A, B. Use these"),
        ("A & a", "there is no variable a"),
        ("A & A", "a node reads A twice. Write A or ~A once in its place"),
        ("(A & ~A) | B", "a node reads A twice"),
        ("A ^ A", "a node reads A twice"),
        ("(A & B) & (~A & B)", "it is 0 on all inputs. Write one that has both values"),
        ("(A & B) | ~(A & B)", "it is 1 on all inputs"),
        ("^".join("AB" * 4), "it has .* nodes, more than 200: XOR doubles"),
    ],
)
def test_what_is_no_formula_is_refused(text: str, problem: str) -> None:
    with pytest.raises(ArgumentError, match=problem):
        formulas.parsed(text, 2)
