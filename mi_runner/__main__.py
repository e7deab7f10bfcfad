import sys

from mi_runner.cli import main

sys.exit(main())
