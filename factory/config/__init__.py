"""One frozen tree of settings. All defaults are in this folder, and nowhere else."""

from factory.config.alarms import Alarms
from factory.config.budget import Budget
from factory.config.curation import PERSONAL_DATA, MixtureSource, PersonalData, Quality, Safety, SafetyReason
from factory.config.dialogue_judge import AXES, JUDGED_REASONS, JudgeRule
from factory.config.engines import (
    EMBEDDED,
    EMBEDDED_NAME,
    LOOPBACK,
    PROCESS_COUNTS,
    OpenAIEngine,
    ScriptedEngine,
    TokenPrices,
    VllmEngine,
    fingerprint_kwargs,
    workers,
)
from factory.config.evaluation import EndpointJudge, Evaluation, Fleet, ScriptedJudge, ServedModel
from factory.config.paths import LocalPath, checked_path
from factory.config.planning import Gpus, Planning, StageFigures
from factory.config.playground import Chat
from factory.config.preferences import PREFERENCE_SOURCES
from factory.config.run import RunConfig
from factory.config.sections import Sampling, Section
from factory.config.synthesis import Instructions, Personas, Strategy
from factory.config.training import TEMPLATE_NAMES, Lora, Training

__all__ = [
    "AXES", "EMBEDDED", "EMBEDDED_NAME", "JUDGED_REASONS", "LOOPBACK", "PERSONAL_DATA", "PREFERENCE_SOURCES",
    "PROCESS_COUNTS", "TEMPLATE_NAMES", "Alarms", "Budget", "Chat", "EndpointJudge", "Evaluation", "Fleet", "Gpus",
    "Instructions", "JudgeRule", "LocalPath", "Lora", "MixtureSource", "OpenAIEngine", "PersonalData", "Personas",
    "Planning", "Quality", "RunConfig", "Safety", "SafetyReason", "Sampling", "ScriptedEngine", "ScriptedJudge",
    "Section", "ServedModel", "StageFigures", "Strategy", "TokenPrices", "Training", "VllmEngine", "checked_path",
    "fingerprint_kwargs", "workers",
]  # fmt: skip
