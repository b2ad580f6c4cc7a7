"""Selection by an office's capacity: lanes with their reasons, and what is recommended before loading."""

from services.risk.selection.draws import Draw, commitment, draws
from services.risk.selection.parameters import Lane, ParameterError, Parameters, load_parameters
from services.risk.selection.preloading import Referral, Referrals, refer
from services.risk.selection.select import Assessed, Cause, Selected, rerouted, select
from services.risk.selection.tally import Tally, TallyRecord

__all__ = [
    "Assessed",
    "Cause",
    "Draw",
    "Lane",
    "ParameterError",
    "Parameters",
    "Referral",
    "Referrals",
    "Selected",
    "Tally",
    "TallyRecord",
    "commitment",
    "draws",
    "load_parameters",
    "refer",
    "rerouted",
    "select",
]
