"""The sections of the configuration."""

from qmi.config.schema import (
    CfgContext,
    CfgDiscovery,
    CfgHistory,
    CfgInstrument,
    CfgLimits,
    CfgLogging,
    CfgProcessHost,
    CfgProcessManagement,
    CfgQmi,
    CfgRestart,
    CfgSafeWhen,
    CfgSecurity,
    CfgSite,
    CfgTask,
    CfgWeb,
)

__all__ = [
    "CfgContext",
    "CfgDiscovery",
    "CfgHistory",
    "CfgInstrument",
    "CfgLimits",
    "CfgLogging",
    "CfgProcessHost",
    "CfgProcessManagement",
    "CfgQmi",
    "CfgRestart",
    "CfgSafeWhen",
    "CfgSecurity",
    "CfgSite",
    "CfgTask",
    "CfgWeb",
]
