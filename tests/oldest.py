"""The oldest version of each library that the base install allows, as `pip install` takes them."""

import re
from importlib.metadata import requires

for requirement in requires("petclassify") or ():
    if "extra ==" not in requirement:
        # "typer<0.29,>=0.27.2"
        bounded = re.match(r"([\w-]+).*?>=([\w.]+)", requirement)
        assert bounded, f"{requirement} has no lower bound"
        print("==".join(bounded.groups()))
