"""Seeded, deterministic traffic with labelled misbehaviour: what the demo, the benchmarks and the risk measurements use."""

from libs.simulator.build import SimulatedConsignment
from libs.simulator.manifest import (
    Arrival,
    Manifest,
    arrivals,
    arrivals_path,
    read_arrivals,
    read_manifest,
    to_json_line,
    write_manifest,
)
from libs.simulator.scenario import LABELS, Scenario, ScenarioError, load_scenario, scenario_names
from libs.simulator.simulator import Simulator
from libs.simulator.truth import TrueItem, Truth, read_truth, truth_path

__all__ = [
    "LABELS",
    "Arrival",
    "Manifest",
    "Scenario",
    "ScenarioError",
    "SimulatedConsignment",
    "Simulator",
    "TrueItem",
    "Truth",
    "arrivals",
    "arrivals_path",
    "load_scenario",
    "read_arrivals",
    "read_manifest",
    "read_truth",
    "scenario_names",
    "to_json_line",
    "truth_path",
    "write_manifest",
]
