// What both consoles begin with: sign in to Proxmox VE, ask for a console, know the way to it.

const node = "/api2/json/nodes/demo";

const call = async (path, fields, headers) => {
  const response = await fetch(path, { method: "POST", body: new URLSearchParams(fields), headers });
  if (!response.ok) throw new Error(`${path}: ${response.status} ${response.statusText}`);
  return (await response.json()).data;
};

export const state = (text) => {
  document.getElementById("state").textContent = text;
  if (text === "ended") ended(performance.now());
};

let ended;
const end = new Promise((resolve) => { ended = resolve; });

export const open = async (kind, fields) => {
  const me = await call("/api2/json/access/ticket", { username: "root@pam", password: "proxmox" }, {});
  document.cookie = `PVEAuthCookie=${encodeURIComponent(me.ticket)}; path=/; secure; samesite=lax`;
  const { port, ticket, user } = await call(`${node}/${kind}`, fields, { CSRFPreventionToken: me.CSRFPreventionToken });
  const query = `port=${port}&vncticket=${encodeURIComponent(ticket)}`;
  return { url: `wss://${location.host}${node}/vncwebsocket?${query}`, ticket, user };
};

// Signs out of the gate; the time in milliseconds from its answer until the console has ended.
export const signOut = async () => {
  const response = await fetch("/_gate/sign-out", { method: "POST", body: new URLSearchParams() });
  const answered = performance.now();
  if (!response.ok) throw new Error(`sign-out: ${response.status}`);
  return Math.max(0, (await end) - answered);
};
