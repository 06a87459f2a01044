"""The names that scripts and drivers import, where they import them from."""

from __future__ import annotations

import importlib
import inspect
import subprocess
import sys

import pytest

PUBLIC = {
    "qmi": """start stop context info make_rpc_object make_instrument make_task get_rpc_object get_instrument get_task
        list_rpc_objects show_rpc_objects show_instruments show_tasks show_contexts show_network_contexts
        get_configured_contexts open_context __version__""",
    "qmi.core.context": "QMI_Context Context PeerDescriptor",
    "qmi.core.rpc": """QMI_RpcObject rpc_method is_rpc_method QMI_RpcProxy QMI_RpcFuture
        AsyncProxy Placement RpcStream""",
    "qmi.core.instrument": "QMI_Instrument QMI_InstrumentIdentification",
    "qmi.core.task": "QMI_Task QMI_TaskRunner QMI_LoopTask QMI_LoopTaskMissedLoopPolicy",
    "qmi.core.pubsub": "QMI_Signal QMI_SignalReceiver SignalReceiverDiscardPolicy ReceivedSignal SignalDescription",
    "qmi.core.exceptions": """QMI_Exception QMI_RuntimeException QMI_ApplicationException QMI_UsageException
        QMI_NoActiveContextException QMI_DuplicateNameException QMI_UnknownNameException QMI_InvalidOperationException
        QMI_ConfigurationException QMI_WrongThreadException QMI_InstrumentException QMI_TimeoutException
        QMI_EndOfInputException QMI_TransportDescriptorException QMI_MessageDeliveryException QMI_RpcTimeoutException
        QMI_UnknownRpcException QMI_SignalSubscriptionException QMI_TaskInitException QMI_TaskRunException
        QMI_TaskStopException""",
    "qmi.core.config_defs": "CfgQmi CfgContext CfgLogging CfgProcessManagement CfgProcessHost",
    "qmi.utils.context_managers": "start_stop start_stop_join open_close lock_unlock subscribe_unsubscribe",
    "qmi.instruments.dummy.noisy_sine_generator": "NoisySineGenerator",
}
NAMES = [(module, name) for module, names in PUBLIC.items() for name in names.split()]


@pytest.mark.parametrize(("module", "name"), NAMES)
def test_name_is_where_scripts_import_it_from(module: str, name: str) -> None:
    thing = getattr(importlib.import_module(module), name)
    if inspect.isclass(thing) or inspect.isroutine(thing):
        assert thing.__module__ == module
        assert thing.__doc__


@pytest.mark.parametrize("module", PUBLIC)
def test_modules_list_what_they_publish(module: str) -> None:
    listed = getattr(importlib.import_module(module), "__all__", None)
    if listed is not None:
        assert set(PUBLIC[module].split()) <= set(listed)


def test_the_old_import_of_exceptions_through_the_package_works() -> None:
    program = "import qmi; print(qmi.core.exceptions.QMI_TaskRunException)"
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=30)
    assert run.stdout == "<class 'qmi.core.exceptions.QMI_TaskRunException'>\n"
