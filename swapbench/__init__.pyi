# What an editor and a type checker see; at run time the names are imported when they are asked for.
from swapbench.api import Errors as Errors
from swapbench.api import Figure as Figure
from swapbench.api import Run as Run
from swapbench.api import compare as compare
from swapbench.api import load as load
from swapbench.api import measure as measure
from swapbench.api import metrics as metrics

__version__: str
