// A script of somebody who automates Proxmox VE with proxmox-api. What it learns it prints as JSON.

import { createRequire } from "node:module";

const told = JSON.parse(process.argv[2]);
const { default: proxmoxApi } = createRequire(told.packages)("proxmox-api");

const proxmox = proxmoxApi({ host: told.host, ...told.secret });
try {
  const nodes = await proxmox.nodes.$get();
  const created = await proxmox.nodes.$("demo").qemu.$post({ vmid: 106, name: "made by proxmox-api" });
  console.log(JSON.stringify({ nodes: nodes.map((node) => node.node), created }));
} catch (error) {
  console.log(JSON.stringify({ refused: `${error.message} ${error.cause?.message ?? ""}` }));
  process.exitCode = 1;
}
