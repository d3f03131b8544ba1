"""A script of somebody who automates Proxmox VE with proxmoxer. What it learns it prints as one line of JSON."""

import json
import sys

from proxmoxer import ProxmoxAPI
from proxmoxer.core import AuthenticationError, ResourceException

told = json.loads(sys.argv[1])
try:
    proxmox = ProxmoxAPI(told["host"], user="root@pam", verify_ssl=told["ca"], timeout=30, **told["secret"])
except AuthenticationError as error:
    print(json.dumps({"refused": str(error)}))
    sys.exit(1)

learned = {"nodes": [node["node"] for node in proxmox.nodes.get()]}
local = proxmox.nodes("demo").storage("local")
learned["created"] = proxmox.nodes("demo").qemu.create(vmid=105, name="made by proxmoxer", memory=512)
with open(told["small"], "rb") as file:
    learned["small"] = local.upload.create(content="vztmpl", filename=file)
with open(told["large"], "rb") as file:
    learned["large"] = local.upload.create(content="iso", filename=file)
try:
    proxmox.nodes.delete()
except ResourceException as error:
    learned["error"] = str(error)
try:
    proxmox.access.users.get()
except ResourceException as error:
    learned["refused"] = str(error)
learned["deleted"] = proxmox.nodes("demo").qemu(105).delete()
print(json.dumps(learned))
