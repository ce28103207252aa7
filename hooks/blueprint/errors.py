"""Refusals of the engine. The text of each is the whole message for its user."""


class BlueprintError(Exception):
    """Base of every refusal: one clear message, exit code 1, no traceback."""


class AnswersRefusedError(BlueprintError):
    """One or more answers cannot be baked; the message names each of them."""


class FolderNotEmptyError(BlueprintError):
    """The target folder holds files that are no project of this template."""


class ProjectRefusedError(BlueprintError):
    """An existing project cannot be regenerated as it is; the message says what to do first."""


class ManifestError(BlueprintError):
    """A manifest cannot be read; the message names the file and the line."""


class LayoutError(BlueprintError):
    """A manifest does not fit the tree; the message names the file and each row at fault."""
