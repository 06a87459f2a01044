"""Every exception that this library raises, and what each one means.

::

    QMI_Exception
    ├── QMI_ApplicationException
    ├── QMI_ConfigurationException
    │   └── QMI_MissingConfigurationException  (also FileNotFoundError) the file is not there
    ├── QMI_DuplicateNameException
    ├── QMI_EndOfInputException                (also EOFError)
    │   └── QMI_TransportLostException         (also ConnectionError) the connection to a device is gone
    ├── QMI_InstrumentException
    │   ├── QMI_OutOfStepException             an answer is owed that could be taken for the next one
    │   ├── QMI_RestoreException               some settings of a snapshot were set, then one failed
    │   └── QMI_ScpiException                  what a device reports about a command
    ├── QMI_InvalidOperationException
    ├── QMI_MessageDeliveryException
    │   ├── QMI_NotDeliveredException          the request never left: safe to repeat
    │   └── QMI_OutcomeUnknownException        the request went out, no answer came
    ├── QMI_RuntimeException
    │   ├── QMI_CallCycleException             objects would wait for each other for ever
    │   ├── QMI_CancelledCallException         the caller gave up, or its call was dropped
    │   ├── QMI_ConnectionException            (also ConnectionError) no link to another context can be made
    │   │   ├── QMI_ConnectionRefusedException  (also ConnectionRefusedError) nobody listens there
    │   │   └── QMI_PeerNotFoundException      (also QMI_UnknownNameException) nobody of that name was found
    │   ├── QMI_ContextStoppedException        (also QMI_MessageDeliveryException, QMI_InvalidOperationException)
    │   ├── QMI_ObjectLockedException          another proxy holds the lock
    │   │   └── QMI_LockLostException          the caller's own lock was taken away
    │   ├── QMI_ObjectRemovedException         (also QMI_MessageDeliveryException, QMI_UnknownNameException)
    │   ├── QMI_RecordingException             (also OSError) the data of a run cannot be written or read
    │   └── QMI_RemoteException                an exception of a type that the caller does not have
    │       └── QMI_RemoteExceptionGroup       (also ExceptionGroup) such a group, with its members
    ├── QMI_SignalSubscriptionException
    ├── QMI_TaskInitException
    ├── QMI_TaskRunException
    ├── QMI_TaskStopException
    ├── QMI_TimeoutException                   (also TimeoutError)
    │   └── QMI_RpcTimeoutException
    ├── QMI_TransportDescriptorException
    ├── QMI_UnknownNameException               (also ValueError)
    ├── QMI_UnknownRpcException                (also AttributeError)
    ├── QMI_UsageException
    │   ├── QMI_BlockingOnLoopException        a blocking call where only ``await`` may wait
    │   ├── QMI_InvalidValueException           (also ValueError) an argument whose value cannot work
    │   ├── QMI_LogLevelException              (also QMI_ConfigurationException) there is no such log level
    │   ├── QMI_MissingLibraryException        (also ImportError) what needs a library that is not installed
    │   ├── QMI_NoActiveContextException
    │   ├── QMI_NotConnectedException          (also QMI_UnknownNameException) there is no link to that context
    │   ├── QMI_NotStartedException            (also QMI_InvalidOperationException) the context does not run yet
    │   └── QMI_UnknownPlaceholderException    (also KeyError) a file name has an unknown name behind its ``$``
    ├── QMI_ValueNotSendableException          (also TypeError) an argument or result that cannot cross a link
    └── QMI_WrongThreadException

Where a class is new, it is also what programs catch that were written before it was: "also" says what that is.

Users import these from :mod:`qmi.core.exceptions`, which is what tracebacks show.
"""

from __future__ import annotations

from collections.abc import Sequence

__all__ = [
    "QMI_ApplicationException",
    "QMI_BlockingOnLoopException",
    "QMI_CallCycleException",
    "QMI_CancelledCallException",
    "QMI_ConfigurationException",
    "QMI_ConnectionException",
    "QMI_ConnectionRefusedException",
    "QMI_ContextStoppedException",
    "QMI_DuplicateNameException",
    "QMI_EndOfInputException",
    "QMI_Exception",
    "QMI_InstrumentException",
    "QMI_InvalidOperationException",
    "QMI_InvalidValueException",
    "QMI_LockLostException",
    "QMI_LogLevelException",
    "QMI_MessageDeliveryException",
    "QMI_MissingConfigurationException",
    "QMI_MissingLibraryException",
    "QMI_NoActiveContextException",
    "QMI_NotConnectedException",
    "QMI_NotDeliveredException",
    "QMI_NotStartedException",
    "QMI_ObjectLockedException",
    "QMI_ObjectRemovedException",
    "QMI_OutOfStepException",
    "QMI_OutcomeUnknownException",
    "QMI_PeerNotFoundException",
    "QMI_RecordingException",
    "QMI_RemoteException",
    "QMI_RemoteExceptionGroup",
    "QMI_RestoreException",
    "QMI_RpcTimeoutException",
    "QMI_RuntimeException",
    "QMI_ScpiException",
    "QMI_SignalSubscriptionException",
    "QMI_TaskInitException",
    "QMI_TaskRunException",
    "QMI_TaskStopException",
    "QMI_TimeoutException",
    "QMI_TransportDescriptorException",
    "QMI_TransportLostException",
    "QMI_UnknownNameException",
    "QMI_UnknownPlaceholderException",
    "QMI_UnknownRpcException",
    "QMI_UsageException",
    "QMI_ValueNotSendableException",
    "QMI_WrongThreadException",
]


class QMI_Exception(Exception):
    """Base of every exception of this library."""


class QMI_ApplicationException(QMI_Exception):
    """Base for exceptions that an application defines for itself."""


class QMI_ConfigurationException(QMI_Exception):
    """The configuration is not usable.

    Attributes:
        faults: One line for each fault that was found; empty when there is just one.
    """

    def __init__(self, message: str = "", faults: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.faults: tuple[str, ...] = tuple(faults)


class QMI_MissingConfigurationException(QMI_ConfigurationException, FileNotFoundError):
    """The configuration file that was named does not exist."""


class QMI_DuplicateNameException(QMI_Exception):
    """The name is in use already."""


class QMI_EndOfInputException(QMI_Exception, EOFError):
    """There is no more input to read."""


class QMI_TransportLostException(QMI_EndOfInputException, ConnectionError):
    """The connection to a device is gone: it was closed, unplugged or cut."""


class QMI_InstrumentException(QMI_Exception):
    """An instrument reported an error or answered something that makes no sense."""


class QMI_OutOfStepException(QMI_InstrumentException):
    """An answer is still owed, and might be taken for that of the next question; nothing was sent."""


class QMI_RestoreException(QMI_InstrumentException):
    """A setting of a snapshot could not be set, when others had been set already.

    Attributes:
        failed: The name of the parameter.
        done: Those that were set before.
        left: Those that were not set for that.
    """

    def __init__(self, message: str = "", failed: str = "", done: Sequence[str] = (), left: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.failed: str = failed
        self.done: tuple[str, ...] = tuple(done)
        self.left: tuple[str, ...] = tuple(left)


class QMI_ScpiException(QMI_InstrumentException):
    """A device reports an error about a command.

    Attributes:
        command: The command.
        errors: The entries of the device's error queue.
    """

    def __init__(self, message: str = "", command: str = "", errors: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.command: str = command
        self.errors: tuple[str, ...] = tuple(errors)


class QMI_InvalidOperationException(QMI_Exception):
    """The object is in a state that does not allow the operation."""


class QMI_MessageDeliveryException(QMI_Exception):
    """A message did not make it to where it should go, or its answer did not come back."""


class QMI_NotDeliveredException(QMI_MessageDeliveryException):
    """The request was never handed to the other side: repeating it is safe."""


class QMI_OutcomeUnknownException(QMI_MessageDeliveryException):
    """The request went out and the answer never came: it may or may not have been carried out."""


class QMI_RuntimeException(QMI_Exception):
    """Something went wrong while the program ran."""


class QMI_CallCycleException(QMI_RuntimeException):
    """The call would wait for an object that itself waits for this call."""


class QMI_CancelledCallException(QMI_RuntimeException):
    """The call was given up before it had a result."""


class QMI_ConnectionException(QMI_RuntimeException, ConnectionError):
    """A link to another context could not be made."""


class QMI_ContextStoppedException(QMI_RuntimeException, QMI_MessageDeliveryException, QMI_InvalidOperationException):
    """The context that owns the object has stopped."""


class QMI_ObjectLockedException(QMI_RuntimeException):
    """The object is locked by another proxy, so the call was refused."""


class QMI_LockLostException(QMI_ObjectLockedException):
    """The lock that the caller relied on was taken away or lost with a link, so the call was refused."""


class QMI_RecordingException(QMI_RuntimeException, OSError):
    """The data of a run cannot be written, or not be read."""


class QMI_RemoteException(QMI_RuntimeException):
    """A remote exception whose type is not available on this side.

    Attributes:
        type_name: Full name of the remote exception's type.
    """

    def __init__(self, message: str = "", type_name: str = "") -> None:
        super().__init__(message)
        self.type_name = type_name


class QMI_RemoteExceptionGroup(QMI_RemoteException, ExceptionGroup[Exception]):
    """A remote exception group whose type is not available on this side; it has the members.

    Attributes:
        type_name: Full name of the remote group's type.
    """

    def __new__(
        cls, message: str = "", exceptions: Sequence[Exception] = (), type_name: str = ""
    ) -> QMI_RemoteExceptionGroup:
        """Make the group; one without members has its own text as its member, since no group may be empty."""
        return ExceptionGroup.__new__(cls, message, exceptions or [QMI_RemoteException(message)])

    def __init__(self, message: str = "", exceptions: Sequence[Exception] = (), type_name: str = "") -> None:
        super().__init__(message, type_name)
        self.args: tuple[object, ...] = (message, list(self.exceptions))

    def __str__(self) -> str:
        return self.message

    def derive(self, excs: Sequence[Exception]) -> QMI_RemoteExceptionGroup:  # type: ignore[override]
        """Make a group of some of the members, as ``except*`` does."""
        return QMI_RemoteExceptionGroup(self.message, excs, self.type_name)


class QMI_SignalSubscriptionException(QMI_Exception):
    """Subscribing to a signal, or unsubscribing from it, is not possible."""


class QMI_TaskInitException(QMI_Exception):
    """The constructor of a task failed; the reason is the cause of this exception."""


class QMI_TaskRunException(QMI_Exception):
    """A task ended by an exception; that is the cause of this one."""


class QMI_TaskStopException(QMI_Exception):
    """Raised inside a task that waits when it is asked to stop."""


class QMI_TimeoutException(QMI_Exception, TimeoutError):
    """Something did not happen within the time given to it."""


class QMI_RpcTimeoutException(QMI_TimeoutException):
    """The answer to a call did not come within the time given to it."""


class QMI_TransportDescriptorException(QMI_Exception):
    """The description of a transport cannot be understood."""


class QMI_UnknownNameException(QMI_Exception, ValueError):
    """There is nothing of that name."""


class QMI_ObjectRemovedException(QMI_RuntimeException, QMI_MessageDeliveryException, QMI_UnknownNameException):
    """The object was removed from its context."""


class QMI_ConnectionRefusedException(QMI_ConnectionException, ConnectionRefusedError):
    """Nobody listens at the address of the other context."""


class QMI_PeerNotFoundException(QMI_ConnectionException, QMI_UnknownNameException):
    """Another context is not in the configuration, and nobody of its name answered on the network."""


class QMI_UnknownRpcException(QMI_Exception, AttributeError):
    """The object has no published method of that name."""


class QMI_UsageException(QMI_Exception):
    """The library was used in a way that cannot work."""


class QMI_BlockingOnLoopException(QMI_UsageException):
    """A blocking call on the event loop, which would stop everything else that runs there."""


class QMI_InvalidValueException(QMI_UsageException, ValueError):
    """An argument of the right kind whose value cannot work."""


class QMI_UnknownPlaceholderException(QMI_UsageException, KeyError):
    """There is something behind a dollar sign in a file name that is neither a placeholder nor a variable."""

    def __str__(self) -> str:
        return Exception.__str__(self)  # that of KeyError shows the quoted text


class QMI_LogLevelException(QMI_UsageException, QMI_ConfigurationException):
    """There is no log level of that name."""


class QMI_MissingLibraryException(QMI_UsageException, ImportError):
    """A Python package that is needed for this is not installed; the message says how to install it."""


class QMI_NoActiveContextException(QMI_UsageException):
    """There is no active context; ``qmi.start()`` makes one."""


class QMI_NotConnectedException(QMI_UsageException, QMI_UnknownNameException):
    """There is no link to the context that was named."""


class QMI_NotStartedException(QMI_UsageException, QMI_InvalidOperationException):
    """The context was made but not started."""


class QMI_ValueNotSendableException(QMI_Exception, TypeError):
    """A value that cannot be sent to another program; the message says where it sits."""


class QMI_WrongThreadException(QMI_Exception):
    """Called from a thread that must not call it."""


for _name in __all__:
    globals()[_name].__module__ = "qmi.core.exceptions"
del _name
