"""A study's launches on the phones of one chipset, over the real fleet: shared, lost, gone."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import cast
from unittest.mock import create_autospec

import farm_samples as samples
from controller_farm import Farm, FarmFactory
from made_trials import make_trial
from simulated_agent import SimulatedAgent

from distillfarm.controller.compressor import Compressor
from distillfarm.controller.lab import ChipsetLab, survey
from distillfarm.controller.measuring import Measuring
from distillfarm.controller.orders import Order, Taken
from distillfarm.controller.signing import signing_key
from distillfarm.controller.telling import Telling
from distillfarm.controller.tools import Tools
from distillfarm.domain.agent import Assign
from distillfarm.domain.measurement import Outcome
from distillfarm.domain.study import Trial

RECIPES = ("int8_static", "int8_dynamic", "fp16", "prune(ratio=0.5)")


def measuring(farm: Farm, folder: Path) -> Measuring:
    study = farm.store.create_study("study-1", samples.study_spec(), 1.0)
    compressor = cast("Compressor", create_autospec(Compressor, instance=True))
    tools = Tools(
        farm.store, farm.blobs, compressor, farm.dispatcher, signing_key(folder), lambda: False
    )
    return Measuring(tools, Telling(tools, study))


def place(farm: Farm) -> ChipsetLab:
    (found,) = survey(farm.store.devices(), [samples.ONNX], "*")
    return found


def trials() -> list[Trial]:
    return [replace(make_trial(each), outcome=None, score=None) for each in RECIPES]


async def take(made: Measuring, orders: Sequence[Order]) -> list[Taken]:
    return await asyncio.to_thread(made.take, orders)


async def test_phones_of_one_chipset_share_the_orders_of_a_round(
    farm: Farm, tmp_path: Path
) -> None:
    infos = [samples.device_info(each) for each in ("a", "b", "c")]
    async with SimulatedAgent(farm.address, "lab", infos, works=True):
        here = place(farm)
        taken = await take(measuring(farm, tmp_path), [Order(e, here, 3) for e in trials()])
    assert all(each.trial.outcome is Outcome.OK and each.trial.score for each in taken)
    assert [each.launches for each in taken] == [3, 3, 3, 3]
    assert len({each.device_id for each in taken}) == 3


async def test_an_order_for_one_phone_runs_there_and_one_trial_gathers_them_all(
    farm: Farm, tmp_path: Path
) -> None:
    infos = [samples.device_info(each) for each in ("a", "b")]
    async with SimulatedAgent(farm.address, "lab", infos, works=True):
        here, (trial, *_) = place(farm), trials()
        orders = [Order(trial, here, 3, phone.device_id) for phone in here.phones]
        taken = await take(measuring(farm, tmp_path), orders)
    assert [each.device_id for each in taken] == [each.device_id for each in here.phones]
    assert len({each.trial for each in taken}) == 1
    assert len(taken[0].trial.measurement_ids) == 2
    assert farm.store.trials("study-1") == [taken[0].trial]


async def test_what_a_lost_phone_held_is_measured_by_another(farm: Farm, tmp_path: Path) -> None:
    dying = SimulatedAgent(farm.address, "dying", [samples.device_info("a")])
    async with (
        dying,
        SimulatedAgent(farm.address, "sound", [samples.device_info("b")], works=True),
    ):
        here = place(farm)
        round_ = asyncio.create_task(
            take(measuring(farm, tmp_path), [Order(e, here, 3) for e in trials()])
        )
        await dying.expect(Assign)
        await dying.cut()
        taken = await round_
    assert all(each.measured for each in taken)
    assert {farm.store.device(each.device_id).info.serial for each in taken} == {"b"}


async def test_orders_say_so_where_no_phone_is_left(make_farm: FarmFactory, tmp_path: Path) -> None:
    async with make_farm(patience_s=0.3) as farm:
        async with SimulatedAgent(farm.address, "lab", [samples.device_info("a")], works=True):
            here = place(farm)
        taken = await take(measuring(farm, tmp_path), [Order(e, here, 3) for e in trials()])
    assert not any(each.measured or each.launches for each in taken)
    assert all(each.trial.outcome_reason.startswith("not measured: ") for each in taken)
    assert all("1 offline" in each.trial.outcome_reason for each in taken)
