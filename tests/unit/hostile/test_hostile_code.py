"""Model files that carry code: pickles, expressions, operators, layers. None of it runs."""

import base64
import io
import json
import marshal
import pickle
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import format_models
import h5py
import pytest
import torch
from hostile_tasks import Look

from distillfarm.domain.errors import ModelRejected

# Each file is read in a process of its own, which loads a framework.
pytestmark = pytest.mark.slow


def test_the_payload_would_be_noticed(bomb: object, workplace: Path) -> None:
    """The proof of the proofs: unpickled without care, the bomb leaves its mark and its code."""
    run = subprocess.run(
        [sys.executable, "-c", "import pickle,sys; pickle.load(sys.stdin.buffer)"],
        input=pickle.dumps(bomb),
        check=False,
    )
    assert run.returncode == 66
    assert (workplace / "executed").exists()


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("place", ["whole", "beside the weights"])
def test_pickled_code_in_a_state_dict(
    look: Look, bomb: object, workplace: Path, zipped: bool, place: str
) -> None:
    path = format_models.write("pt", workplace / "files")
    content = bomb if place == "whole" else {"conv.weight": torch.zeros(1), "extra": bomb}
    torch.save(content, path, _use_new_zipfile_serialization=zipped)
    error = look(path, format_models.factory_for(path))
    assert type(error) is ModelRejected
    assert "holds pickled code, which is never run" in str(error)


def test_pickled_module(look: Look, workplace: Path) -> None:
    path = format_models.write("pt", workplace / "files")
    torch.save(torch.nn.Linear(2, 2), path)
    error = look(path, format_models.factory_for(path))
    assert "holds pickled code, which is never run; save model.state_dict()" in str(error)


def test_plain_pickle(look: Look, bomb: object, workplace: Path) -> None:
    path = workplace / "files" / "model.pkl"
    path.write_bytes(pickle.dumps(bomb))
    factory = format_models.factory_for(format_models.write("pt", workplace / "files"))
    assert type(look(path, factory)) is ModelRejected


def test_torchscript_is_not_read(look: Look, workplace: Path) -> None:
    path = workplace / "files" / "script.pt"
    torch.jit.save(torch.jit.script(torch.nn.Linear(2, 2)), path)
    assert "TorchScript holds code and is not read" in str(look(path))


Edit = Callable[[dict[str, bytes]], None]
"""Changes the members of an archive."""
Change = Callable[[dict[str, Any]], None]
"""Changes an object that was read from JSON."""


def edit_program(path: Path, edit: Edit) -> None:
    """Write the .pt2 anew with its members, a dict of name to bytes, changed by ``edit``."""
    with zipfile.ZipFile(path) as archive:
        members = {each.filename: archive.read(each) for each in archive.infolist()}
    edit(members)
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)


def change_json(name: str, change: Change) -> Edit:
    def edit(members: dict[str, bytes]) -> None:
        (full,) = [each for each in members if each.endswith(name)]
        content = json.loads(members[full])
        change(content)
        members[full] = json.dumps(content).encode()

    return edit


def in_program(change: Change) -> Edit:
    return change_json("models/model.json", change)


CALL = "__import__('os')._exit(66)"


def every(key: str, value: object) -> Edit:
    """Put ``value`` wherever ``key`` stands in the program."""

    def change(content: object) -> None:
        waiting = [content]
        while waiting:
            each = waiting.pop()
            if isinstance(each, dict):
                if key in each:
                    each[key] = value
                waiting += each.values()
            elif isinstance(each, list):
                waiting += each

    return in_program(change)


def symbol(content: dict[str, Any]) -> None:
    sizes = content["graph_module"]["graph"]["tensor_values"]["image"]["sizes"]
    sizes[0] = {"as_expr": {"expr_str": CALL, "hint": {"as_int": 2}}}


def tree(content: dict[str, Any]) -> None:
    hook = {"__enum__": True, "fqn": "os:_exit", "name": "x"}
    spec = {"type": "builtins.dict", "context": json.dumps([hook]), "children_spec": []}
    call = content["graph_module"]["module_call_graph"][0]["signature"]
    call["in_spec"] = json.dumps([1, spec])


def factory_tree(content: dict[str, Any]) -> None:
    context = {"default_factory_module": "os", "default_factory_name": "abort", "dict_context": []}
    spec = {"type": "collections.defaultdict", "context": json.dumps(context), "children_spec": []}
    call = content["graph_module"]["module_call_graph"][0]["signature"]
    call["out_spec"] = json.dumps([1, spec])


def input_name(content: dict[str, Any]) -> None:
    text = json.dumps(content).replace('"image"', json.dumps(f"image={CALL}"))
    content.clear()
    content.update(json.loads(text))


def weight_name(content: dict[str, Any]) -> None:
    text = json.dumps(content).replace("conv.weight", f"a', {CALL}) #.b".replace("'", "\\\\u0027"))
    content.clear()
    content.update(json.loads(text))


PROGRAMS = {
    "operator by path": (every("target", "torch.os._exit"), "target 'torch.os._exit'"),
    "operator that loads": (every("target", "torch.ops.load_library"), "target"),
    "operator that maps files": (every("target", "torch.ops.aten.from_file.default"), "target"),
    "operator through dunders": (every("target", "torch.ops.aten.add.__globals__"), "target"),
    "expression": (in_program(symbol), "expr_str"),
    "guard": (in_program(lambda content: content.update(guards_code=[CALL])), "guards_code"),
    "guard attribute": (
        in_program(lambda content: content.update(guards_code=["L.__class__ == 1"])),
        "guards_code",
    ),
    "tree with an enum": (in_program(tree), "in_spec"),
    "tree with a factory": (in_program(factory_tree), "out_spec"),
    "input name": (in_program(input_name), "can be trusted"),
    "weight name": (in_program(weight_name), "can be trusted"),
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_code_in_the_text_of_a_program(look: Look, workplace: Path, name: str) -> None:
    edit, says = PROGRAMS[name]
    path = format_models.write("pt2", workplace / "files")
    edit_program(path, edit)
    error = look(path)
    assert type(error) is ModelRejected
    assert says in str(error)


def pickled_weights(bomb: object, members: dict[str, bytes]) -> None:
    buffer = io.BytesIO()
    torch.save(bomb, buffer)
    (name,) = [each for each in members if each.endswith("weights/weight_0")]
    members[name] = buffer.getvalue()

    def mark(content: dict[str, Any]) -> None:
        for each in content["config"].values():
            each["use_pickle"] = True

    change_json("model_weights_config.json", mark)(members)


def pickled_samples(bomb: object, members: dict[str, bytes]) -> None:
    buffer = io.BytesIO()
    torch.save((bomb,), buffer)
    (name,) = [each for each in members if "sample_inputs" in each]
    members[name] = buffer.getvalue()


def legacy_weights(bomb: object, members: dict[str, bytes]) -> None:
    buffer = io.BytesIO()
    torch.save(bomb, buffer)
    root = next(iter(members)).partition("/")[0]
    members[f"{root}/data/weights/model.pt"] = buffer.getvalue()


def compiled_code(bomb: object, members: dict[str, bytes]) -> None:
    root = next(iter(members)).partition("/")[0]
    members[f"{root}/data/aotinductor/model/evil.so"] = b"\x7fELF"


def opaque_constant(bomb: object, members: dict[str, bytes]) -> None:
    root = next(iter(members)).partition("/")[0]
    members[f"{root}/data/constants/opaque_obj_0"] = pickle.dumps(bomb)


@pytest.mark.parametrize(
    "plant", [pickled_weights, pickled_samples, legacy_weights, compiled_code, opaque_constant]
)
def test_code_in_the_members_of_a_program(
    look: Look, bomb: object, workplace: Path, plant: Callable[[object, dict[str, bytes]], None]
) -> None:
    path = format_models.write("pt2", workplace / "files")
    edit_program(path, lambda members: plant(bomb, members))
    assert type(look(path)) is ModelRejected


def test_program_of_the_older_form_is_not_read(look: Look, bomb: object, workplace: Path) -> None:
    path = workplace / "files" / "old.pt2"
    buffer = io.BytesIO()
    torch.save(bomb, buffer)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("version", "8.20")
        archive.writestr("serialized_exported_program.json", "{}")
        archive.writestr("serialized_state_dict.pt", buffer.getvalue())
    assert "save it with torch.export.save" in str(look(path))


def edit_keras(path: Path, change: Change) -> None:
    if path.suffix == ".h5":
        with h5py.File(path, "a") as file:
            config = json.loads(file.attrs["model_config"])
            change(config["config"]["layers"][1])
            file.attrs["model_config"] = json.dumps(config)
        return

    def edit(members: dict[str, bytes]) -> None:
        config = json.loads(members["config.json"])
        change(config["config"]["layers"][1])
        members["config.json"] = json.dumps(config).encode()

    edit_program(path, edit)


def into_lambda(payload: str) -> Change:
    code = compile(payload, "x", "exec")
    packed = base64.b64encode(marshal.dumps(code)).decode()

    def change(layer: dict[str, Any]) -> None:
        layer["class_name"] = "Lambda"
        layer["config"] = {
            "name": "evil",
            "function": {"class_name": "__lambda__", "config": {"code": packed}},
        }

    return change


def into_module(layer: dict[str, Any]) -> None:
    layer["module"], layer["class_name"] = "os", "system"


def into_function(layer: dict[str, Any]) -> None:
    call = {"module": "builtins", "class_name": "function", "config": "exec"}
    layer["config"]["activation"] = call


def into_saved_model_layer(layer: dict[str, Any]) -> None:
    layer["class_name"] = "TFSMLayer"


@pytest.mark.parametrize("kind", ["keras", "h5"])
@pytest.mark.parametrize("how", ["lambda", into_module, into_function, into_saved_model_layer])
def test_code_in_a_keras_model(
    look: Look, payload: str, workplace: Path, kind: str, how: str | Change
) -> None:
    path = format_models.write(kind, workplace / "files")
    edit_keras(path, into_lambda(payload) if isinstance(how, str) else how)
    error = look(path)
    assert type(error) is ModelRejected
    assert "the Keras model holds code" in str(error) or "which is not of Keras" in str(error)


def test_factory_of_the_user_runs_inside_the_walls(
    look: Look, payload: str, workplace: Path
) -> None:
    """A factory is the user's own code and does run, but may not write outside its folder."""
    path = format_models.write("pt", workplace / "files")
    outside = workplace / "executed"
    (workplace / "files" / "factory.py").write_text(
        f"def make():\n    open({str(outside)!r}, 'w')\n"
    )
    error = look(path, format_models.factory_for(path))
    assert "PermissionError" in str(error)
    assert not outside.exists()
