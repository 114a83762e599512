"""Models trained once for all tests of compression."""

from pathlib import Path

import pytest
import tiny_models


@pytest.fixture(scope="session")
def image_problem(tmp_path_factory: pytest.TempPathFactory) -> tiny_models.Problem:
    return tiny_models.trained("image", tmp_path_factory.mktemp("image") / "problem")


@pytest.fixture(scope="session")
def vector_problem(tmp_path_factory: pytest.TempPathFactory) -> tiny_models.Problem:
    return tiny_models.trained("vector", tmp_path_factory.mktemp("vector") / "problem")


@pytest.fixture(scope="session")
def trap(tmp_path_factory: pytest.TempPathFactory) -> tiny_models.Problem:
    return tiny_models.recurrent_trap(tmp_path_factory.mktemp("trap") / "problem")


@pytest.fixture
def scratch(tmp_path: Path) -> Path:
    return tmp_path / "scratch"


@pytest.fixture(scope="session")
def residual_problem(tmp_path_factory: pytest.TempPathFactory) -> tiny_models.Problem:
    return tiny_models.users("Residual", "image", tmp_path_factory.mktemp("residual") / "problem")


@pytest.fixture(scope="session")
def encoder_problem(tmp_path_factory: pytest.TempPathFactory) -> tiny_models.Problem:
    return tiny_models.users("Encoder", "tokens", tmp_path_factory.mktemp("encoder") / "problem")


@pytest.fixture(scope="session")
def bert_problem(tmp_path_factory: pytest.TempPathFactory) -> tiny_models.Problem:
    return tiny_models.users("TiedBert", "tokens", tmp_path_factory.mktemp("bert") / "problem")
