// The portal's script. Its pages work without it, except for passkeys and security keys.
//
// It makes no markup (Trusted Types forbid that) and knows no words: both are in the page, words in data-
// attributes. Each part looks for its own elements and does nothing where there are none.

const one = (selector, within = document) => within.querySelector(selector);
const all = (selector, within = document) => within.querySelectorAll(selector);

// The page's language, in the person's regional form where they speak it.
const { lang } = document.documentElement;
const locale = navigator.languages.find((tag) => tag.split("-")[0] === lang) ?? lang;

/** A span of time in one unit: "40 seconds", "5 hours". */
function span(seconds) {
  const [unit, size] = seconds < 120 ? ["second", 1] : seconds < 7200 ? ["minute", 60] : ["hour", 3600];
  const format = new Intl.NumberFormat(locale, { style: "unit", unit, unitDisplay: "long", maximumFractionDigits: 0 });
  return format.format(seconds / size);
}

function say(element, words) {
  element.textContent = words;
  element.hidden = !words;
}

// What went wrong is read first.
one("[data-focus]")?.focus();

// Links to other pages keep the fragment of Proxmox VE's deep links (#v1:0:…); forms do so by themselves.
for (const link of all("a[data-keep-fragment]")) {
  link.addEventListener("click", () => { link.hash = location.hash; });
}

// A code works once: a second click must not send it again.
for (const form of all("form")) {
  form.addEventListener("submit", (event) => {
    if (form.ariaBusy === "true") event.preventDefault();
    else form.ariaBusy = "true";
  });
  addEventListener("pageshow", () => { form.ariaBusy = null; });
}

// What was typed outlives a sign-in in between, unless it is secret: the form that is shown again has it. It is
// given up on the first page that is neither that form nor one to sign in on.
const KEPT = "pvegate-typed";
function keep(form) {
  const typed = Array.from(all("[data-keep]", form), ({ name, value }) => [name, value]);
  if (typed.length > 0) sessionStorage.setItem(KEPT, JSON.stringify([new URL(form.action).search, typed]));
}
for (const form of all("form:has([data-keep])")) {
  form.addEventListener("submit", () => keep(form));
  const [search, typed] = JSON.parse(sessionStorage.getItem(KEPT)) ?? [];
  if (search !== new URL(form.action).search) continue;
  for (const [name, value] of typed) form.elements[name].value = value;
}
if (!/^\/_gate\/(sign-in|recover|security-key)/.test(location.pathname)) sessionStorage.removeItem(KEPT);

// The gate's clock goes on; the time of loading is the best guess of when it was read.
const clock = one("[data-clock]");
if (clock) {
  const gate = Number(clock.dataset.clock);
  const loaded = performance.now();
  setInterval(() => {
    const now = new Date(gate + performance.now() - loaded);
    clock.textContent = `${now.toISOString().slice(11, 19)} UTC`;
  }, 1000);

  const offset = one("[data-clock-offset]");
  const seconds = Math.round((Date.now() - gate) / 1000);
  if (offset?.dataset.agrees && Math.abs(seconds) <= 10) {
    say(offset, offset.dataset.agrees);
  } else if (offset && Math.abs(seconds) > 10) {
    const words = seconds > 0 ? offset.dataset.ahead : offset.dataset.behind;
    say(offset, words.replace("{}", span(Math.abs(seconds))));
  }
}

// Times are written in UTC; people live elsewhere.
for (const time of all("time[data-local]")) {
  const style = time.dataset.local === "time" ? { timeStyle: "medium" } : { dateStyle: "medium", timeStyle: "short" };
  const format = new Intl.DateTimeFormat(locale, style);
  time.title = time.textContent;
  time.textContent = format.format(new Date(time.dateTime));
}

// An invitation comes in the fragment, which no server sees; neither does the history keep it.
const invitation = one("form[data-fragment]");
if (invitation && location.hash.length > 1) {
  const token = location.hash.slice(1);
  history.replaceState(null, "", location.pathname + location.search);
  invitation.elements[invitation.dataset.fragment].value = token;
  invitation.requestSubmit();
}

// Recovery codes: a text file, paper, the clipboard.
const codes = one("[data-codes]");
if (codes) {
  const written = Array.from(all("code", codes), (code) => code.textContent);
  const heading = Array.from(all(".on-paper", codes), (line) => line.textContent);
  const tools = one(".tools", codes);
  const status = one("[role=status]", tools);
  tools.hidden = false;

  one("[data-download]", tools).addEventListener("click", () => {
    const text = [...heading, "", ...written, ""].join("\r\n");
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([text], { type: "text/plain" }));
    link.download = codes.dataset.file;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
  });
  one("[data-print]", tools).addEventListener("click", () => print());
  one("[data-copy]", tools).addEventListener("click", async ({ currentTarget: button }) => {
    try {
      await navigator.clipboard.writeText(written.join("\n"));
      status.textContent = button.dataset.done;
    } catch {
      status.textContent = button.dataset.denied;
    }
  });
}

// While Proxmox VE does not answer, ask again, and go on when it does. The fragment stays in the address.
const retry = one("[data-retry]");
if (retry) {
  const again = async () => {
    const answer = await fetch(location.href, { headers: { accept: "text/html" }, cache: "no-store" }).catch(() => null);
    if (answer && answer.status < 500) {
      location.reload();
      return;
    }
    const time = new Date().toLocaleTimeString(locale);
    retry.textContent = retry.dataset.tried.replace("{}", time);
    setTimeout(again, retry.dataset.retry * 1000);
  };
  setTimeout(again, retry.dataset.retry * 1000);
}

// Passkeys and security keys (WebAuthn level 3).

class Refused extends Error {
  constructor(status, word) {
    super(`status ${status}`);
    this.status = status;
    this.word = word;
  }
}

/** Sends JSON and returns the JSON that comes back. The page's query goes along: it holds `next`. */
async function post(url, body, signal) {
  const answer = await fetch(url + location.search, {
    method: "POST",
    headers: { "content-type": "application/json", accept: "application/json" },
    body: JSON.stringify(body),
    signal,
  });
  if (!answer.ok) {
    const { error } = await answer.json().catch(() => ({}));
    throw new Refused(answer.status, error);
  }
  return answer.json();
}

/** The words for what went wrong in a ceremony. */
function wordsFor(error, words) {
  if (error instanceof Refused) {
    // What policy says to somebody whose key was right.
    if (["unbound", "elsewhere"].includes(error.word)) return words[error.word] ?? words.refused;
    return error.status === 429 ? words.tooMany : words.refused;
  }
  switch (error.name) {
    case "NotAllowedError": // Chromium names the certificate; it is the only sign of it.
      return /certificate/i.test(error.message) ? words.untrusted : words.cancelled;
    case "SecurityError": return words.bareAddress;
    case "InvalidStateError": return words.present;
    case "NotSupportedError": return words.unsupported;
    default: return words.offline;
  }
}

/**
 * Signs in with a passkey: at once with a button, or from the user name's suggestions (`conditional`). The
 * button asks for the passkeys of the name that was typed, if there is one: some keys know no names.
 */
async function signIn(place, mediation, signal) {
  const user = mediation === "conditional" ? "" : one("#user")?.value.trim();
  const asked = await post(place.dataset.options, user ? { user } : {}, signal);
  await prove(place, asked, mediation, signal);
}

/** Asks for an assertion, sends it and goes on where the gate says. */
async function prove(place, { state, publicKey }, mediation, signal) {
  const options = PublicKeyCredential.parseRequestOptionsFromJSON(publicKey);
  const credential = await navigator.credentials.get({ publicKey: options, mediation, signal });
  const { next } = await post(place.dataset.finish, { state, credential });
  const target = new URL(next, location.origin);
  if (target.origin !== location.origin) throw new Refused(0);
  target.hash ||= location.hash;
  location.replace(target);
}

/** Creates a passkey or security key; the form then goes on with the state that came back. */
async function create(form) {
  const { state: given, name } = form.elements;
  const { state, publicKey } = await post(form.dataset.options, { state: given.value, kind: form.dataset.kind });
  const options = PublicKeyCredential.parseCreationOptionsFromJSON(publicKey);
  const credential = await navigator.credentials.create({ publicKey: options });
  ({ state: given.value } = await post(form.dataset.finish, { state, name: name.value, credential }));
  form.submit();
}

const passkeysWork = "PublicKeyCredential" in globalThis && "parseRequestOptionsFromJSON" in PublicKeyCredential;

const signInPlace = one("[data-passkey-sign-in]");
if (signInPlace && passkeysWork) {
  const button = one("button", signInPlace);
  const problem = one("[role=alert]", signInPlace);
  let waiting = new AbortController();
  signInPlace.hidden = false;

  button.addEventListener("click", async () => {
    // Only one request may be open at a time: the button's goes before the suggestions'.
    waiting.abort();
    waiting = new AbortController();
    say(problem, "");
    button.ariaBusy = "true";
    try {
      await signIn(signInPlace, "optional", waiting.signal);
    } catch (error) {
      if (error.name !== "AbortError") say(problem, wordsFor(error, signInPlace.dataset));
      button.ariaBusy = null;
    }
  });

  if (await PublicKeyCredential.isConditionalMediationAvailable?.()) {
    // Nobody asked for this one, so it only speaks up where a passkey was chosen and refused.
    const suggest = () => {
      waiting = new AbortController();
      signIn(signInPlace, "conditional", waiting.signal).catch((error) => {
        if (error instanceof Refused && error.status !== 429) say(problem, wordsFor(error, signInPlace.dataset));
      });
    };
    suggest();
    // A challenge is good for five minutes, and the page may stay open for hours.
    setInterval(() => {
      if (button.ariaBusy === "true") return;
      waiting.abort();
      suggest();
    }, 4 * 60_000);
  }
}

// The security key that comes after the code.
const keyPlace = one("[data-security-key]");
if (keyPlace) {
  const button = one("button", keyPlace);
  const problem = one("[role=alert]", keyPlace);
  const { state, publickey } = keyPlace.dataset;
  keyPlace.hidden = false;
  button.disabled = !passkeysWork;
  if (passkeysWork) button.focus();
  else say(problem, keyPlace.dataset.unsupported);
  button.addEventListener("click", async () => {
    if (button.ariaBusy === "true") return;
    say(problem, "");
    button.ariaBusy = "true";
    try {
      await prove(keyPlace, { state, publicKey: JSON.parse(publickey) });
    } catch (error) {
      say(problem, wordsFor(error, keyPlace.dataset));
      button.ariaBusy = null;
    }
  });
}

// A change wants a proof: a code in the form, or a passkey that signs for the form as it is filled in.
const proofParts = new Set(["code", "recovery", "proof", "assertion"]);
for (const form of all("form[data-prove]")) {
  const button = one("[data-by-passkey]", form);
  if (!button || !passkeysWork) continue;
  const problem = one("[data-proof-problem]", form);
  const { code, recovery } = form.elements;
  const codeIsRequired = code?.required;
  button.hidden = false;
  button.addEventListener("click", async () => {
    if (button.ariaBusy === "true") return;
    say(problem, "");
    if (code) code.required = false;
    if (!form.reportValidity()) return;
    keep(form);
    button.ariaBusy = "true";
    try {
      const fields = Object.fromEntries([...new FormData(form)].filter(([name]) => !proofParts.has(name)));
      const { pathname: path } = new URL(form.action);
      const { state, publicKey } = await post(form.dataset.prove, { path, fields });
      const options = PublicKeyCredential.parseRequestOptionsFromJSON(publicKey);
      const credential = await navigator.credentials.get({ publicKey: options });
      const { proof, assertion } = form.elements;
      proof.disabled = assertion.disabled = false;
      proof.value = state;
      assertion.value = JSON.stringify(credential);
      for (const typed of [code, recovery]) if (typed) typed.disabled = true;
      form.submit();
    } catch (error) {
      if (error instanceof Refused && error.status === 401) {
        // The session is over. The same form is there again after signing in.
        location.assign(form.action);
        return;
      }
      say(problem, wordsFor(error, form.dataset));
      if (code) code.required = codeIsRequired;
      button.ariaBusy = null;
    }
  });
}

// After a change, the browser's own list of passkeys follows. The user handle is one that the gate gave out,
// so none of this concerns the passkeys of Proxmox VE, which has the same host.
const signal = one("[data-signal]");
if (signal && passkeysWork) {
  const { rp: rpId, user: userId, credentials, name } = signal.dataset;
  const told = signal.dataset.signal === "accepted"
    ? PublicKeyCredential.signalAllAcceptedCredentials?.({
      rpId, userId, allAcceptedCredentialIds: credentials.split(" ").filter(Boolean),
    })
    : PublicKeyCredential.signalCurrentUserDetails?.({ rpId, userId, name, displayName: name });
  told?.catch(() => {}); // A browser without a place for it: nothing is lost.
}

for (const createForm of all("[data-passkey-create]")) {
  const problem = one("[role=alert]", createForm);
  createForm.closest("[hidden]").hidden = false;
  if (!passkeysWork) {
    say(problem, createForm.dataset.unsupported);
    one("[type=submit]", createForm).disabled = true;
  }
  createForm.addEventListener("submit", async (event) => {
    if (event.defaultPrevented) return; // a second click
    event.preventDefault();
    say(problem, "");
    try {
      await create(createForm);
    } catch (error) {
      say(problem, wordsFor(error, createForm.dataset));
      createForm.ariaBusy = null;
    }
  });
}
