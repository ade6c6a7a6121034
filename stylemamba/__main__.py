"""``python -m stylemamba``: the command line where the ``stylemamba`` script is not on the path."""

import sys

from .cli import main

sys.exit(main())
