const choices = () => [...element.querySelectorAll("[data-choice]:not([disabled])")];

element.addEventListener("click", async event => {
  const chosen = event.target.closest("[data-choice]");
  if (chosen && !chosen.disabled) trigger("choose", { choice: chosen.dataset.choice });
  const copy = event.target.closest("[data-copy]");
  if (!copy) return;
  const pre = copy.parentElement.parentElement.querySelector("pre");
  getSelection().selectAllChildren(pre);
  try {
    await navigator.clipboard.writeText(pre.textContent);
  } catch {
    document.execCommand("copy");  // where the page came without TLS from another machine
  }
  copy.textContent = "Copied";
  setTimeout(() => { copy.textContent = "Copy"; }, 2000);
});

// Tokens are one stop for the Tab key; arrows move among them.
element.addEventListener("keydown", event => {
  const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1, Home: -Infinity, End: Infinity }[event.key];
  const all = choices(), at = all.indexOf(document.activeElement);
  if (step === undefined || at < 0) return;
  event.preventDefault();
  const next = all[Math.max(0, Math.min(all.length - 1, at + step))];
  if (next.hasAttribute("tabindex")) {
    all.forEach(one => { one.tabIndex = -1; });
    next.tabIndex = 0;
  }
  next.focus();
});

// A drawing that is made anew keeps the focus where it was.
let held = null;
element.addEventListener("focusin", event => { held = event.target.dataset.choice ?? null; });
element.addEventListener("focusout", event => { if (event.relatedTarget) held = null; });
watch("value", () => {
  if (held !== null && (document.activeElement === document.body || document.activeElement === null))
    element.querySelector(`[data-choice="${held}"]`)?.focus();
});

// Frames are as high as their pages.
addEventListener("message", event => {
  for (const frame of element.querySelectorAll("iframe"))
    if (frame.contentWindow === event.source && Number.isFinite(event.data?.height))
      frame.style.height = Math.min(20000, event.data.height) + "px";
});
const measure = () => {
  for (const frame of element.querySelectorAll("iframe")) {
    const page = frame.contentDocument?.documentElement;
    if (page) frame.style.height = page.scrollHeight + "px";
  }
};
element.addEventListener("load", measure, true);
addEventListener("resize", measure);
