"""Reads ``torch.export`` programs: lets through nothing that loading them could execute.

``torch.export.load`` is not made for strangers' files: it unpickles without a guard where a flag
says so, evaluates symbolic expressions and guards as Python, looks operators up by dotted path,
and writes names into generated code. So the archive may hold only the plain form, every string in
the program must be as harmless as its place demands, and the archive is written anew.
"""

import ast
import io
import json
import pickle
import re
from collections.abc import Iterator
from pathlib import Path

import torch

from distillfarm.compression.protocols import WorkingModel
from distillfarm.compression.readers import Source, archives
from distillfarm.domain.errors import ModelRejected
from distillfarm.domain.model import ModelFormat

_MEMBER = re.compile(
    r"data/(weights|constants)/(weight_\d+|tensor_\d+|model_(weights|constants)_config\.json)"
    r"|models/model\.json|data/sample_inputs/model\.pt|archive_format|archive_version"
    r"|\.data/(version|serialization_id)|\.format_version|\.storage_alignment|byteorder"
)
_PLAIN_WEIGHTS = re.compile(r"(weight|tensor)_\d+")
_OPERATOR = re.compile(
    r"torch\.ops\.(aten|prims|quantized_decomposed)\.(?!__[a-z]+__\.__|from_file)\w+\.(?!__)\w+"
    r"|torch\.ops\.higher_order\.(cond|wrap_with_set_grad_enabled|while_loop|scan|map_impl)"
    r"|_operator\.(getitem|add|sub|mul|mod|floordiv|truediv|neg|pow|eq|ne|lt|le|gt|ge|and_|or_)"
    r"|math\.[a-z0-9]+|torch\.sym_[a-z]+"
)
_WORD = re.compile(r"[\w.+\-/ ]*")
_TREE_TYPES = (None, "builtins.tuple", "builtins.list", "builtins.dict", "collections.OrderedDict")
# Text that is kept beside a node and never evaluated.
_NOTES = ("metadata",)
_TEXT_ARGUMENTS = ("as_string", "as_strings")
_TREES = ("in_spec", "out_spec")
_NAMES_IN_EXPRESSIONS = frozenset(
    [
        "Abs",
        "Add",
        "And",
        "BitwiseFn_bitwise_and",
        "BitwiseFn_bitwise_or",
        "CeilDiv",
        "CeilToInt",
        "CleanDiv",
        "Eq",
        "Float",
        "FloatPow",
        "FloatTrueDiv",
        "FloorDiv",
        "FloorToInt",
        "Ge",
        "Gt",
        "Identity",
        "Integer",
        "IntTrueDiv",
        "L",
        "Le",
        "Lt",
        "Max",
        "Min",
        "Mod",
        "ModularIndexing",
        "Mul",
        "Ne",
        "Not",
        "Or",
        "Piecewise",
        "Pow",
        "PowByNatural",
        "PythonMod",
        "Rational",
        "RoundToInt",
        "Symbol",
        "ToFloat",
        "TruncToInt",
        "Where",
        "ceiling",
        "false",
        "floor",
        "int_oo",
        "max",
        "min",
        "oo",
        "size",
        "stride",
        "storage_offset",
        "true",
    ]
)
_SYMBOL = re.compile(r"[a-z]{1,4}\d+|\w{1,40}")
_EXPRESSION_PARTS = (
    ast.Expression,
    ast.Call,
    ast.Name,
    ast.Load,
    ast.Constant,
    ast.keyword,
    ast.BinOp,
    ast.UnaryOp,
    ast.BoolOp,
    ast.Compare,
    ast.Subscript,
    ast.Attribute,
    ast.operator,
    ast.unaryop,
    ast.boolop,
    ast.cmpop,
)
_MAX_EXPRESSION_CHARACTERS = 4000


def read(source: Source) -> WorkingModel:
    """The program as a new archive that holds what was checked and nothing else."""
    names = [each.filename for each in archives.members(source.path)]
    root = names[0].partition("/")[0] if names else ""
    for name in names:
        folder, _, inside = name.partition("/")
        if folder != root or not _MEMBER.fullmatch(inside):
            raise ModelRejected(
                f"the program holds {name!r}; save it with torch.export.save of PyTorch 2.8 or"
                " later, without pickled weights, custom objects or compiled code"
            )
    if len(set(names)) != len(names):
        raise ModelRejected("the program holds two files of one name")
    clean = source.folder / "program.pt2"
    archives.rewrite(source.path, clean)
    for kind in ("weights", "constants"):
        _check_weights(_json(clean, f"{root}/data/{kind}/model_{kind}_config.json"))
    _check_samples(archives.member(clean, f"{root}/data/sample_inputs/model.pt"))
    _check_program(_json(clean, f"{root}/models/model.json"))
    return WorkingModel(clean, ModelFormat.TORCH_EXPORT)


def _json(path: Path, name: str) -> object:
    try:
        return json.loads(archives.member(path, name))
    except (ValueError, RecursionError) as error:
        raise ModelRejected(f"{name} of the program is damaged: {error}") from error


def _check_weights(config: object) -> None:
    entries = config.get("config") if isinstance(config, dict) else None
    if not isinstance(entries, dict):
        raise ModelRejected("the program's table of weights is damaged")
    for name, entry in entries.items():
        place = entry.get("path_name") if isinstance(entry, dict) else None
        if not isinstance(place, str) or not _PLAIN_WEIGHTS.fullmatch(place):
            raise ModelRejected(f"weight {name!r} of the program is no plain tensor")
        if entry.get("use_pickle") is not False:
            raise ModelRejected(f"weight {name!r} of the program is pickled, which can hold code")
        if not _WORD.fullmatch(name):
            raise ModelRejected(f"the program has a weight with a hostile name: {name!r}")


def _check_samples(pickled: bytes) -> None:
    if not pickled:
        return
    try:
        torch.load(io.BytesIO(pickled), weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, ValueError, TypeError, EOFError) as error:
        raise ModelRejected(f"the program's sample inputs hold pickled code: {error}") from error


def _check_program(program: object) -> None:
    for key, value in _strings(program):
        if key in ("target", "as_operator"):
            sound = _OPERATOR.fullmatch(value) is not None
        elif key in ("expr_str", "guards_code"):
            sound = _is_plain_expression(value)
        elif key in _TREES:
            sound = _is_plain_tree(value)
        elif key in ("name", "forward_arg_names"):
            sound = value == "" or (value.isidentifier() and not value.startswith("__"))
        else:
            sound = key in _TEXT_ARGUMENTS or _WORD.fullmatch(value) is not None
        if not sound:
            raise ModelRejected(f"the program's {key} {value!r} is none that can be trusted")


def _strings(program: object) -> Iterator[tuple[str, str]]:
    """Every string with the key above it, and every key under the name of ``key``."""
    waiting: list[tuple[str, object]] = [("", program)]
    while waiting:
        key, value = waiting.pop()
        if isinstance(value, str):
            yield key, value
        elif isinstance(value, list):
            waiting += [(key, each) for each in value]
        elif isinstance(value, dict):
            for name, each in value.items():
                yield "key", name
                if name == "custom_obj_values" and each:
                    raise ModelRejected("the program holds custom objects, which can hold code")
                if name not in _NOTES:
                    waiting.append((name, each))


def _is_plain_expression(text: str) -> bool:
    """Whether ``text`` is arithmetic on symbols and sizes, and no other Python."""
    if len(text) > _MAX_EXPRESSION_CHARACTERS:
        return False
    try:
        tree = ast.parse(text, mode="eval")
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    return all(_is_plain_part(each) for each in ast.walk(tree))


def _is_plain_part(part: ast.AST) -> bool:
    match part:
        case ast.Name(id=name):
            return name in _NAMES_IN_EXPRESSIONS or re.fullmatch(r"[a-z]{1,4}\d+", name) is not None
        case ast.Attribute(attr=name):
            return name in ("size", "stride", "storage_offset")
        case ast.Constant(value=str() as name):
            return _SYMBOL.fullmatch(name) is not None
        case ast.Constant(value=value):
            return isinstance(value, bool | int | float)
    return isinstance(part, _EXPRESSION_PARTS)


def _is_plain_tree(text: str) -> bool:
    """Whether ``text`` describes nested tuples, lists and dicts, with plain words as keys."""
    try:
        _, tree = json.loads(text)
        waiting = [tree]
        while waiting:
            each = waiting.pop()
            context = json.loads(each["context"] or "null")
            words = context if isinstance(context, list) else []
            if each["type"] not in _TREE_TYPES or not isinstance(context, list | None):
                return False
            if not all(isinstance(word, str) and _WORD.fullmatch(word) for word in words):
                return False
            waiting += each["children_spec"]
    except (ValueError, TypeError, KeyError, RecursionError):
        return False
    return True
