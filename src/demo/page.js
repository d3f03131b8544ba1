"use strict";
// What the web interface of Proxmox VE does, as far as a gate in front is concerned.
(() => {
  const id = (name) => document.getElementById(name);
  const cookie = "PVEAuthCookie";
  let socket = null;
  let challenge = null;
  let refused = 0;
  let polls = 0;

  const setCookie = (ticket) => {
    // By script and not HttpOnly, as the real one does.
    document.cookie = `${cookie}=${encodeURIComponent(ticket)}; path=/; secure; samesite=lax`;
  };
  const deleteCookie = () => {
    document.cookie = `${cookie}=; path=/; secure; samesite=lax; expires=Thu, 01 Jan 1970 00:00:00 GMT`;
  };

  const show = () => {
    id("user").textContent = StandIn.user || "nobody";
    id("login-form").hidden = !!StandIn.user;
    id("logout").hidden = !StandIn.user;
    id("location-hash").textContent = location.hash;
    id("location-search").textContent = location.search;
  };
  const fail = (status, text) => {
    id("connection-error").textContent = `Connection error ${status}: ${text}`;
    id("connection-error").hidden = false;
  };

  // Signing in: a failure is a 200 that says so in its body.
  const signIn = async (fields) => {
    const response = await fetch("/api2/extjs/access/ticket", { method: "POST", body: new URLSearchParams(fields) });
    if (!response.ok) {
      id("login-message").textContent = `${response.status} ${response.statusText}`;
      return;
    }
    const result = await response.json();
    if (!result.success) {
      id("login-message").textContent = `Login failed: ${result.message.trim()}`;
      return;
    }
    if (result.data.NeedTFA) {
      challenge = { username: fields.username, ticket: result.data.ticket };
      id("tfa-form").hidden = false;
      id("tfa-code").focus();
      return;
    }
    challenge = null;
    id("tfa-form").hidden = true;
    id("login-message").textContent = "";
    id("login-password").value = "";
    id("connection-error").hidden = true;
    StandIn.user = result.data.username;
    StandIn.csrf = result.data.CSRFPreventionToken;
    setCookie(result.data.ticket);
    refused = 0;
    show();
    poll();
  };
  const signOut = () => {
    deleteCookie();
    StandIn.user = "";
    StandIn.csrf = "";
    show();
  };
  id("login-form").addEventListener("submit", (event) => {
    event.preventDefault();
    signIn({ username: id("login-user").value, password: id("login-password").value, realm: "pam" });
  });
  id("tfa-form").addEventListener("submit", (event) => {
    event.preventDefault();
    const code = id("tfa-code").value;
    const password = /^\d+$/.test(code) ? `totp:${code}` : `recovery:${code}`;
    signIn({ username: challenge.username, password, "tfa-challenge": challenge.ticket });
  });
  id("logout").addEventListener("click", signOut);

  // Polling: after more than five 401s the real one shows its own sign-in form.
  const poll = async () => {
    if (!StandIn.user) return;
    try {
      const response = await fetch("/api2/json/cluster/resources");
      if (response.ok) {
        const list = (await response.json()).data;
        refused = 0;
        id("poll-result").textContent = `(${list.length} resources)`;
        id("connection-error").hidden = true;
      } else {
        fail(response.status, response.statusText);
        if (response.status === 401 && ++refused > 5) signOut();
      }
    } catch (error) {
      id("connection-error").textContent = "Connection error - server offline?";
      id("connection-error").hidden = false;
    }
    polls += 1;
    id("poll-count").textContent = polls;
  };
  const every = Number(new URLSearchParams(location.search).get("poll")) || 5000;
  setInterval(poll, every);

  id("version-button").addEventListener("click", async () => {
    id("version-result").textContent = "…";
    try {
      const response = await fetch("/api2/json/version");
      const version = response.ok ? ` ${(await response.json()).data.version}` : "";
      id("version-result").textContent = `${response.status} ${response.statusText}${version}`;
      if (!response.ok) fail(response.status, response.statusText);
    } catch (error) {
      id("version-result").textContent = `${error}`;
    }
  });

  id("upload-form").addEventListener("submit", (event) => {
    event.preventDefault();
    const form = new FormData();
    form.append("content", "iso");
    form.append("filename", id("upload-file").files[0]);
    const request = new XMLHttpRequest();
    request.open("POST", "/api2/json/nodes/demo/storage/local/upload");
    request.setRequestHeader("CSRFPreventionToken", StandIn.csrf);
    request.upload.addEventListener("progress", (progress) => {
      id("upload-progress").value = (100 * progress.loaded) / progress.total;
    });
    request.addEventListener("load", () => {
      const text = request.status === 200 ? JSON.parse(request.responseText).data : request.statusText;
      id("upload-result").textContent = `${request.status} ${text}`;
    });
    request.addEventListener("error", () => { id("upload-result").textContent = "Connection error"; });
    id("upload-result").textContent = "";
    request.send(form);
  });

  // The console: a call for port and ticket, then a WebSocket with termproxy's protocol.
  const print = (text) => {
    const output = id("console-output");
    output.textContent += text.replaceAll("\r\n", "\n");
    output.scrollTop = output.scrollHeight;
  };
  const state = (text) => { id("console-state").textContent = text; };
  id("console-open").addEventListener("click", async () => {
    if (socket) return;
    state("connecting");
    id("console-output").textContent = "";
    const response = await fetch("/api2/json/nodes/demo/termproxy", {
      method: "POST", headers: { CSRFPreventionToken: StandIn.csrf },
    });
    if (!response.ok) {
      state(`closed (${response.status} ${response.statusText})`);
      return;
    }
    const { port, ticket, user } = (await response.json()).data;
    const query = `port=${port}&vncticket=${encodeURIComponent(ticket)}`;
    socket = new WebSocket(`wss://${location.host}/api2/json/nodes/demo/vncwebsocket?${query}`, "binary");
    socket.binaryType = "arraybuffer";
    const decoder = new TextDecoder();
    let greeted = false;
    let keepAlive = 0;
    socket.addEventListener("open", () => {
      socket.send(new TextEncoder().encode(`${user}:${ticket}\n`));
      keepAlive = setInterval(() => socket?.readyState === WebSocket.OPEN && socket.send("2"), 30000);
    });
    socket.addEventListener("message", (message) => {
      const text = decoder.decode(message.data, { stream: true });
      if (!greeted && text.startsWith("OK")) {
        greeted = true;
        state("open");
        socket.send("1:80:24:");
        print(text.slice(2));
      } else {
        print(text);
      }
    });
    socket.addEventListener("close", (event) => {
      clearInterval(keepAlive);
      state(`closed (${event.code})`);
      socket = null;
    });
  });
  id("console-close").addEventListener("click", () => socket?.close());
  id("console-form").addEventListener("submit", (event) => {
    event.preventDefault();
    if (!socket) return;
    const text = `${id("console-input").value}\r`;
    socket.send(`0:${new TextEncoder().encode(text).length}:${text}`);
    id("console-input").value = "";
  });

  addEventListener("hashchange", show);
  show();
  poll();
})();
