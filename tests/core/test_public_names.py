"""The names that scripts and drivers import, where they import them from."""

from __future__ import annotations

import importlib
import inspect
import subprocess
import sys

import pytest

PUBLIC = {
    "qmi": """start stop context info make_rpc_object make_instrument make_task get_rpc_object get_instrument get_task
        call list_rpc_objects locked rpc_async rpc_blocking rpc_nonblocking show_rpc_objects show_instruments
        show_tasks show_contexts show_network_contexts get_configured_contexts open_context __version__""",
    "qmi.core.context": "QMI_Context Context PeerDescriptor ping_qmi_contexts",
    "qmi.core.util": """is_valid_object_name format_address_and_port parse_address_and_port AtomicCounter
        check_value_structures_equal""",
    "qmi.core.thread": "QMI_Thread check_in_main_thread",
    "qmi.core.config": "load_config_string load_config_file dump_config_string dump_config_file",
    "qmi.core.config_struct": "config_struct_from_dict config_struct_to_dict",
    "qmi.core.logging_init": "start_logging stop_logging",
    "qmi.core.context_singleton": "create_config_from_file",
    "qmi.core.read_keyboard": "KeyboardReader",
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
ALSO = {
    "qmi.core.context": """QMI_Instrument QMI_RpcProxy QMI_RpcObject QMI_Task QMI_TaskRunner rpc_method CfgQmi
        CfgContext""",
    "qmi.core.rpc": """QMI_RpcTimeoutException QMI_UnknownRpcException QMI_RuntimeException QMI_UsageException
        QMI_RpcNonBlockingProxy RpcObjectDescriptor RpcInterfaceDescriptor RpcConstantDescriptor QMI_Signal""",
    "qmi.core.pubsub": "QMI_SignalSubscriber QMI_TimeoutException",
    "qmi.core.task": "QMI_TaskStopException rpc_method QMI_TaskInitException QMI_TaskRunException QMI_Thread",
    "qmi.core.instrument": "rpc_method QMI_RpcObject",
    "qmi.core.config_struct": "configstruct",
    "qmi.core.messaging": "QMI_MessageHandlerAddress _PeerTcpConnection",
    "qmi.core.context_singleton": """start stop context info make_rpc_object make_instrument make_task get_rpc_object
        get_instrument get_task list_rpc_objects show_rpc_objects show_instruments show_tasks show_contexts
        show_network_contexts get_configured_contexts _qmi_context _connect_to_peers""",
    "qmi.utils.context_managers": "StartStoppable StartStopJoinable OpenClosable LockUnlockable",
}
"""What scripts import from there although it belongs elsewhere."""

NAMES = [(module, name) for module, names in PUBLIC.items() for name in names.split()]


@pytest.mark.parametrize(("module", "name"), NAMES)
def test_name_is_where_scripts_import_it_from(module: str, name: str) -> None:
    thing = getattr(importlib.import_module(module), name)
    if inspect.isclass(thing) or inspect.isroutine(thing):
        assert thing.__module__ == module
        assert thing.__doc__


@pytest.mark.parametrize(
    ("module", "name"), [(module, name) for module, names in ALSO.items() for name in names.split()]
)
def test_name_is_also_where_older_scripts_import_it_from(module: str, name: str) -> None:
    assert hasattr(importlib.import_module(module), name)


def test_modules_are_there_after_importing_the_package() -> None:
    program = "import qmi; print(qmi.core.context.QMI_Context, qmi.core.task.QMI_Task, hasattr(qmi.core, 'nothing'))"
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=30)
    assert run.stdout == "<class 'qmi.core.context.QMI_Context'> <class 'qmi.core.task.QMI_Task'> False\n"


@pytest.mark.parametrize("module", PUBLIC)
def test_modules_list_what_they_publish(module: str) -> None:
    listed = getattr(importlib.import_module(module), "__all__", None)
    if listed is not None:
        assert set(PUBLIC[module].split()) <= set(listed)


def test_the_old_import_of_exceptions_through_the_package_works() -> None:
    program = "import qmi; print(qmi.core.exceptions.QMI_TaskRunException)"
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=30)
    assert run.stdout == "<class 'qmi.core.exceptions.QMI_TaskRunException'>\n"
