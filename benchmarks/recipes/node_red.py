"""Node-RED: posts readings, and follows a device live, also after a restart of the server."""

import json
from pathlib import Path

from benchmarks.measuring.servers import Server
from benchmarks.recipes.documents import blocks, filled_in
from benchmarks.recipes.installation import Installation, free_port, wait_for
from benchmarks.recipes.software import output, program

INSTALL = "npm install --prefix .cache/recipes node-red"


def run(installation: Installation, folder: Path) -> str:
    node_red = program("node-red", install=INSTALL)
    (post,) = blocks("recipes.md", "Post readings")
    (live,) = blocks("recipes.md", "Follow a device live")
    flows = [{"id": "f0", "type": "tab", "label": "Recipes"}]
    for recipe in (post, live):
        for node in json.loads(filled_in(recipe, url=installation.url, key=installation.key)):
            # What the editor does on import; and what is shown in its sidebar is written to the log here.
            tab = {} if node["type"] == "websocket-client" else {"z": "f0"}
            shown = {"console": True, "tosidebar": False, "active": True} if node["type"] == "debug" else {}
            flows.append(node | tab | shown)
    (folder / "flows.json").write_text(json.dumps(flows))

    port, log = free_port(), folder / "node-red.log"
    command = [node_red, "--userDir", str(folder), "--port", str(port), "flows.json"]
    environment = {"HOME": str(folder), "NODE_RED_DISABLE_TELEMETRY": "true"}
    # Without this Node-RED listens on every address of the machine.
    (folder / "settings.js").write_text('module.exports = {uiHost: "127.0.0.1", flowFile: "flows.json"};\n')
    with Server(command, port=port, log=log, environment=environment):
        wait_for("a reading from Node-RED", installation.readings)
        wait_for("the answer in Node-RED", lambda: "device_id: 'demo'" in log.read_text())

        def follows(temperature: float) -> None:
            """Posts until the reading arrives, because Node-RED may not be connected yet."""

            def arrives() -> bool:
                installation.post(temperature=temperature)
                return f"temperature: {temperature}" in log.read_text()

            wait_for(f"a live reading of {temperature}", arrives)

        follows(3.25)
        installation.stop()
        installation.start()
        follows(4.75)
    version = output(node_red, "--version").split()
    return f"Node-RED {version[version.index('Node-RED') + 1].lstrip('v')}" if "Node-RED" in version else version[0]
