"""The sections of the configuration."""

from qmi.config.schema import (
    CfgContext,
    CfgDiscovery,
    CfgInstrument,
    CfgLimits,
    CfgLogging,
    CfgProcessHost,
    CfgProcessManagement,
    CfgQmi,
    CfgRestart,
    CfgSafeWhen,
    CfgSecurity,
    CfgTask,
)

__all__ = [
    "CfgContext",
    "CfgDiscovery",
    "CfgInstrument",
    "CfgLimits",
    "CfgLogging",
    "CfgProcessHost",
    "CfgProcessManagement",
    "CfgQmi",
    "CfgRestart",
    "CfgSafeWhen",
    "CfgSecurity",
    "CfgTask",
]
