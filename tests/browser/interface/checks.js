// What the tests in this folder ask of a page. Each check returns what is wrong, as a list of sentences.
// Put into the page by the browser itself, beside axe: the page's own policy allows no foreign script.

globalThis.checks = (() => {
  const TAGS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"];
  const USABLE = "a[href], button, input:not([type=hidden]), select, textarea, summary, [tabindex='0']";
  // WCAG 2.2, 1.4.12: what a reader may set without losing anything.
  const SPACING = `* { line-height: 1.5 !important; letter-spacing: 0.12em !important; word-spacing: 0.16em !important }
    p { margin-block-end: 2em !important }`;

  const all = () => [...document.body.querySelectorAll("*")];
  const isShown = (e) => e.checkVisibility({ visibilityProperty: true, contentVisibilityAuto: true });
  const usable = () => [...document.querySelectorAll(USABLE)].filter((e) => isShown(e) && !e.disabled);
  const opened = () => { for (const details of document.querySelectorAll("details")) details.open = true; };
  const name = (e) => {
    const text = e.getAttribute("aria-label") || e.labels?.[0]?.textContent || e.textContent || "";
    return `${e.localName}${e.id ? "#" + e.id : ""} "${text.trim().replace(/\s+/g, " ").slice(0, 40)}"`;
  };

  function during(change, check) {
    const undo = change();
    try {
      return check();
    } finally {
      undo();
    }
  }

  /** Nothing lies outside of the window, nothing is cut off. */
  function fits() {
    opened();
    const { scrollWidth, clientWidth } = document.documentElement;
    const wrong = scrollWidth > clientWidth ? [`scrolls sideways: ${scrollWidth} px in ${clientWidth}`] : [];
    for (const e of all().filter(isShown)) {
      const { left, right, width, height } = e.getBoundingClientRect();
      const scrolls = e.closest("[tabindex='0']"); // a table may scroll in a frame of its own, by keyboard too
      if (width > 1 && height > 1 && !scrolls && (left < -1 || right > innerWidth + 1)) {
        wrong.push(`${name(e)} lies from ${Math.round(left)} to ${Math.round(right)} in ${innerWidth} px`);
      }
      const { overflowX, overflowY } = getComputedStyle(e);
      const cuts = (value) => value === "hidden" || value === "clip";
      if (e.matches("button, .button, label, dt, dd, summary, h1, h2, h3, p") && e.scrollWidth > e.clientWidth + 1 && e.clientWidth) {
        wrong.push(`${name(e)} is wider than its box: ${e.scrollWidth} px in ${e.clientWidth}`);
      }
      if (width > 1 && ((cuts(overflowX) && e.scrollWidth > e.clientWidth + 1) || (cuts(overflowY) && e.scrollHeight > e.clientHeight + 1))) {
        wrong.push(`${name(e)} is cut off`);
      }
    }
    return wrong;
  }

  /** WCAG 2.2, 2.5.8; links within a sentence are exempt. */
  function targets() {
    opened();
    return usable()
      .filter((e) => !(e.localName === "a" && getComputedStyle(e).display === "inline"))
      .map((e) => [e, e.getBoundingClientRect()])
      .filter(([, { width, height }]) => Math.min(width, height) < 24)
      .map(([e, { width, height }]) => `${name(e)} is ${Math.round(width)} × ${Math.round(height)} px`);
  }

  /** Nothing moves where that is not wanted. */
  function motion() {
    const still = (value) => value.split(",").every((duration) => parseFloat(duration) === 0);
    return all()
      .filter((e) => !["", "::before", "::after"].every((part) => {
        const { transitionDuration, animationDuration } = getComputedStyle(e, part || null);
        return still(transitionDuration) && still(animationDuration);
      }))
      .map((e) => `${name(e)} moves`);
  }

  const channels = (colour) => (colour.match(/[\d.]+/g) ?? []).map(Number);
  const isClear = (colour) => { const [, , , alpha = 1] = channels(colour); return alpha === 0; };
  /** Relative luminance (WCAG 2.2). */
  function luminance(colour) {
    const [r, g, b] = channels(colour).map((c) => c / 255).map((c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  }
  const texts = () => all().filter((e) => isShown(e) && [...e.childNodes].some((n) => n.nodeType === 3 && n.data.trim()));

  /** On paper: dark text, light ground. Ink is what a printer has; grounds are often left out. */
  function paper() {
    const wrong = [];
    for (const e of texts()) {
      if (luminance(getComputedStyle(e).color) > 0.3) wrong.push(`${name(e)} is printed in ${getComputedStyle(e).color}`);
    }
    for (const e of [document.documentElement, document.body, ...all()].filter(isShown)) {
      const ground = getComputedStyle(e).backgroundColor;
      if (!isClear(ground) && luminance(ground) < 0.7 && !e.closest("svg")) wrong.push(`${name(e)} is printed on ${ground}`);
    }
    for (const e of document.querySelectorAll("header, footer nav, form, button")) {
      if (isShown(e) && document.querySelector(".codes")) wrong.push(`${name(e)} is on the sheet of codes`);
    }
    return wrong;
  }

  /** With the system's own few colours, controls still have an outline and links are still underlined. */
  function forced() {
    const wrong = [];
    for (const e of usable()) {
      const { borderTopStyle, borderTopWidth, textDecorationLine, color } = getComputedStyle(e);
      const { color: around } = getComputedStyle(e.parentElement);
      const hasFrame = borderTopStyle !== "none" && parseFloat(borderTopWidth) >= 1;
      const isMarked = hasFrame || textDecorationLine.includes("underline") || e.matches("summary, [type=checkbox], [type=radio]") || color !== around;
      if (!isMarked) wrong.push(`${name(e)} looks like text`);
    }
    for (const e of all()) {
      if (getComputedStyle(e).forcedColorAdjust === "none" && !e.closest(".qr")) wrong.push(`${name(e)} keeps its own colours`);
    }
    return wrong;
  }

  /** Begins a walk by Tab at the top, and says how many stops there should be. */
  function beginWalk() {
    opened();
    document.body.tabIndex = -1;
    document.body.focus();
    document.body.removeAttribute("tabindex");
    globalThis.stops = [];
    document.addEventListener("focusin", ({ target }) => {
      const { outlineStyle, outlineWidth } = getComputedStyle(target);
      const { left, right, top, bottom } = target.getBoundingClientRect();
      stops.push({
        target, left, right, top: top + scrollY, bottom: bottom + scrollY,
        isSeen: outlineStyle !== "none" && parseFloat(outlineWidth) >= 2,
        isInWindow: top >= -1 && bottom <= innerHeight + 1,
      });
    });
    return usable().length;
  }

  /** Every control was reached, once, in the order in which eyes meet them, visibly; and the walk went on. */
  function endWalk() {
    const wanted = usable();
    const wrong = [];
    const walked = stops.slice(0, wanted.length);
    for (const e of wanted) {
      if (!walked.some(({ target }) => target === e)) wrong.push(`${name(e)} is not reached by Tab`);
    }
    for (const { target, isSeen, isInWindow } of walked) {
      if (!isSeen) wrong.push(`${name(target)} does not show that it has the focus`);
      if (!isInWindow) wrong.push(`${name(target)} has the focus out of sight`);
    }
    for (let i = 1; i < walked.length; i++) {
      const [before, now] = [walked[i - 1], walked[i]];
      const isBelow = now.top >= before.top - 12;
      const isBeside = now.left >= before.right - 1;
      if (!isBelow && !isBeside) wrong.push(`${name(now.target)} comes after ${name(before.target)}, and stands above it`);
    }
    if (wanted.length > 1 && document.activeElement === wanted.at(-1)) wrong.push("the focus is trapped on the last control");
    const main = document.querySelector("main");
    if (wanted.some((e) => main.contains(e)) && !main.contains(walked[0]?.target)) {
      wrong.push(`${name(walked[0]?.target ?? main)} stands between the beginning and what the page is for`);
    }
    return wrong;
  }

  async function violated(type, values) {
    const { violations } = await axe.run(document, { runOnly: { type, values }, resultTypes: ["violations"] });
    return violations.flatMap(({ id, nodes }) => nodes.map(({ html, failureSummary }) => `${id}: ${html}: ${failureSummary}`));
  }

  return {
    axe: () => violated("tag", TAGS),
    /** The rules of axe that look at colours. */
    contrast: () => violated("rule", ["color-contrast", "link-in-text-block"]),
    fits,
    targets,
    motion,
    paper,
    forced,
    beginWalk,
    endWalk,
    /** As a reader with dyslexia may set it. */
    spaced: () => during(() => {
      const sheet = new CSSStyleSheet();
      sheet.replaceSync(SPACING);
      document.adoptedStyleSheets.push(sheet);
      return () => { document.adoptedStyleSheets.pop(); };
    }, fits),
    /** Right to left, as in Arabic and Hebrew. */
    mirrored: () => during(() => {
      document.documentElement.dir = "rtl";
      return () => { document.documentElement.removeAttribute("dir"); };
    }, fits),
    /** Text of twice the size in a window of the same (WCAG 2.2, 1.4.4). */
    large: () => during(() => {
      document.documentElement.style.fontSize = "200%";
      return () => { document.documentElement.style.fontSize = ""; };
    }, fits),
  };
})();
