// A script of somebody who automates Proxmox VE with cv4pve. What it learns it prints as JSON.

import { createRequire } from "node:module";

const told = JSON.parse(process.argv[2]);
const { PveClient } = createRequire(told.packages)("@corsinvest/cv4pve-api-javascript");

const [host, port] = told.host.split(":");
const client = new PveClient(host, Number(port));
const learned = {};
if (told.token) client.apiToken = told.token;
else learned.signedIn = await client.login("root@pam", told.password);
const nodes = await client.nodes.index();
learned.status = nodes.statusCode;
learned.reason = nodes.reasonPhrase;
if (nodes.isSuccessStatusCode) {
  learned.nodes = nodes.response.data.map((node) => node.node);
  learned.created = (await client.nodes.get("demo").qemu.createVm(107)).response.data;
}
console.log(JSON.stringify(learned));
