"""Everything exegete raises on purpose.

Each error says what happened, to what, and what to do about it, in one sentence.

    ExegeteError                 anything below; `exit_code` is what the command line returns
    ├── UsageError               wrong use: an option, a name, a file that is not what it should be   (2)
    │   ├── SubjectError           a model, a site or a feature that is not there
    │   ├── CorpusError            text that can't be read, or too little of it
    │   ├── FormatError            imported data that breaks its format
    │   └── JobError               a job file or a job's parameters
    ├── WorkspaceError           a folder that is no workspace, too new, busy, or full                 (1)
    │   ├── WorkspaceBusy          another process holds the file for writing
    │   └── WorkspaceDamaged       a file's digest or contents are not what was recorded
    ├── LeakageError             a scorer was handed evidence of the wrong split                       (1)
    ├── PromptError              a prompt file that is not there, or can't be filled in as asked       (1)
    ├── WorkerLost               processes that worked for a job keep ending by themselves             (1)
    └── LLMError                 a call to a model that gave no usable reply                           (1)
        ├── LLMUnavailable         the server can't be reached, or keeps failing: retried, then raised
        ├── LLMStop                no later call can succeed (key, permission, spend limit): ends the job
        │   └── BudgetSpent          the next call could cost more than the job may still spend
        └── NoReadableReply        replies came, and nothing could be read from them: fails one feature
"""

from __future__ import annotations


class ExegeteError(Exception):
    """Base of all errors raised on purpose; its text is one sentence for a person."""

    exit_code = 1


class UsageError(ExegeteError):
    """The command, an option or an input is wrong; nothing was changed."""

    exit_code = 2


class SubjectError(UsageError):
    """A subject model, site, dictionary or feature that does not exist or does not fit."""


class CorpusError(UsageError):
    """A corpus that can't be read, or holds too little text."""


class FormatError(UsageError):
    """Imported data that breaks its format."""


class JobError(UsageError):
    """A job file or a job's parameters that can't be run."""


class WorkspaceError(ExegeteError):
    """A workspace that can't be used as it is."""


class WorkspaceBusy(WorkspaceError):
    """Another process holds a workspace file for longer than we are willing to wait."""


class WorkspaceDamaged(WorkspaceError):
    """A workspace file is not what was recorded when it was written."""


class LeakageError(ExegeteError):
    """Evidence of one split was handed to something that must not see it."""


class PromptError(ExegeteError):
    """A prompt file that is not there, or can't be filled in as asked."""


class WorkerLost(ExegeteError):
    """A process that worked for a job ended by itself: nothing is known of what it worked on."""


class LLMError(ExegeteError):
    """A call to a model that gave no usable reply."""


class LLMUnavailable(LLMError):
    """The server can't be reached, or kept failing through all retries."""


class LLMStop(LLMError):
    """No later call can succeed either (key, permission, spend limit): the job should stop."""


class BudgetSpent(LLMStop):
    """The next call could pass the budget that a person set: nothing more is sent."""


class NoReadableReply(LLMError):
    """Replies came, and nothing could be read from them even after asking again: this one item has failed."""
