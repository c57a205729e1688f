// What the page does beyond links and forms: keys, drafts that save themselves, the time a card took, and who has
// it. Without this file everything still works by its buttons.
"use strict";

(() => {
  const html = document.documentElement;
  html.classList.add("js");
  const byId = (id) => document.getElementById(id);
  const csrf = document.querySelector("meta[name=csrf]").content;
  const card = byId("card");
  const said = byId("said");

  const post = (path, fields = {}, keepalive = false) =>
    fetch(path, {
      method: "POST",
      headers: { "X-CSRF-Token": csrf, "Content-Type": "application/x-www-form-urlencoded" },
      body: new URLSearchParams(fields),
      keepalive,
    });

  const say = (words) => {
    const line = document.createElement("p");
    line.className = "said";
    line.textContent = words;
    said.replaceChildren(line);
  };

  // A screen reader reads a live region when it changes, and not what it began with.
  const first = said.textContent.trim();
  if (first) {
    const kept = [...said.children];
    said.replaceChildren();
    setTimeout(() => said.replaceChildren(...kept), 100);
  }
  if (first || card) byId("title").focus({ preventScroll: true });

  // How long the card was in view, for the record.
  let looked = 0;
  let since = document.visibilityState === "visible" ? performance.now() : null;
  const soFar = () => (looked + (since === null ? 0 : performance.now() - since)) / 1000;
  document.addEventListener("visibilitychange", () => {
    if (document.visibilityState === "visible") since ??= performance.now();
    else if (since !== null) { looked += performance.now() - since; since = null; }
  });

  // One answer to one press: a second one would decide about the next card.
  let sent = false;
  document.addEventListener("submit", (event) => {
    if (event.target.method !== "post") return;
    if (sent) { event.preventDefault(); return; }
    sent = true;
    if (byId("seconds")) byId("seconds").value = soFar().toFixed(1);
  });
  addEventListener("pageshow", (event) => { if (event.persisted) location.reload(); });

  // Drafts.
  const draft = document.querySelector("[data-draft]");
  let saving = 0;
  let saved = draft?.value;
  const saveDraft = async (keepalive = false) => {
    clearTimeout(saving);
    if (sent || draft.value === saved) return;
    const text = draft.value === draft.dataset.original ? "" : draft.value;
    try {
      const answer = await post(`${card.dataset.here}/draft`, { text }, keepalive);
      if (!answer.ok) throw new Error(String(answer.status));
      saved = draft.value;
      byId("draft-state").textContent = text ? "draft saved" : "";
    } catch {
      byId("draft-state").textContent = "the draft is not saved: the server does not answer";
      saving = setTimeout(saveDraft, 3000);
    }
  };
  if (draft) {
    draft.addEventListener("input", () => { clearTimeout(saving); saving = setTimeout(saveDraft, 400); });
    addEventListener("pagehide", () => { saveDraft(true); });
  }

  // Whose card it is.
  if (card) {
    const look = async () => {
      if (document.visibilityState !== "visible") return;
      try {
        const { holder } = await (await post(`${card.dataset.here}/look`)).json();
        byId("holder").textContent = holder ?? "";
        byId("held").hidden = !holder;
      } catch { /* the server is away; the next action says so */ }
    };
    look();
    document.addEventListener("visibilitychange", look);
    setInterval(look, 60_000);
  }

  // Queued work.
  const unfinished = () => document.querySelectorAll("[data-work][data-state=queued], [data-work][data-state=running]");
  const poll = async () => {
    try {
      const known = new Map((await (await fetch("/work.json")).json()).map((one) => [String(one.id), one]));
      for (const line of unfinished()) {
        const one = known.get(line.dataset.work);
        if (!one) continue;
        line.querySelector(".state").textContent = one.state;
        line.querySelector(".progress").textContent = one.progress;
        if (line.dataset.state !== one.state && (one.state === "done" || one.state === "failed"))
          say(`Work ${one.state}: ${one.progress}`);
        line.dataset.state = one.state;
      }
    } catch { /* asked again below */ }
    if (unfinished().length) setTimeout(poll, 2000);
  };
  if (unfinished().length) setTimeout(poll, 1000);

  // Tabs of examples.
  const tabs = [...document.querySelectorAll("[data-tab]")];
  const choose = (tab, focus, kept = true) => {
    for (const other of tabs) {
      const chosen = other === tab;
      other.setAttribute("aria-selected", String(chosen));
      other.tabIndex = chosen ? 0 : -1;
      byId(`tab-${other.dataset.tab}`).hidden = !chosen;
    }
    if (focus) tab.focus();
    // Only what a person chose: a card whose mistakes are hidden begins with another tab.
    if (kept) try { sessionStorage.setItem("tab", tab.dataset.tab); } catch { /* not kept */ }
  };
  const step = (by, focus) => {
    const at = tabs.findIndex((tab) => tab.getAttribute("aria-selected") === "true");
    choose(tabs[(at + by + tabs.length) % tabs.length], focus);
  };
  if (tabs.length) {
    tabs[0].parentElement.setAttribute("role", "tablist");
    for (const tab of tabs) {
      const panel = byId(`tab-${tab.dataset.tab}`);
      tab.setAttribute("role", "tab");
      tab.id = `b-tab-${tab.dataset.tab}`;
      tab.setAttribute("aria-controls", panel.id);
      panel.setAttribute("role", "tabpanel");
      panel.setAttribute("aria-labelledby", tab.id);
      tab.addEventListener("click", (event) => { event.preventDefault(); choose(tab, true); });
      tab.addEventListener("keydown", (event) => {
        if (event.key === "ArrowRight") step(1, true);
        else if (event.key === "ArrowLeft") step(-1, true);
        else if (event.key === " ") { event.preventDefault(); event.stopPropagation(); choose(tab, true); }
      });
    }
    let last = null;
    try { last = sessionStorage.getItem("tab"); } catch { /* the first, then */ }
    choose(tabs.find((tab) => tab.dataset.tab === last) ?? tabs[0], false, false);
    byId("b-tabs").addEventListener("click", () => step(1, false));
  }

  // The simulated levels.
  const overlay = byId("b-simulated");
  if (overlay) {
    const show = (on) => {
      overlay.setAttribute("aria-pressed", String(on));
      byId("examples").classList.toggle("hide-simulated", !on);
      try { sessionStorage.setItem("simulated", on ? "on" : "off"); } catch { /* not kept */ }
    };
    overlay.addEventListener("click", () => show(overlay.getAttribute("aria-pressed") !== "true"));
    let kept = null;
    try { kept = sessionStorage.getItem("simulated"); } catch { /* on */ }
    show(kept !== "off");
  }

  // Panels: the field of one that opens is typed in at once.
  for (const panel of document.querySelectorAll("#act .panel"))
    panel.addEventListener("toggle", () => {
      if (!panel.open || panel.dataset.still) return;
      for (const other of document.querySelectorAll("#act .panel")) if (other !== panel) other.open = false;
      if (panel.id !== "panel-reject") panel.querySelector("textarea").focus();
    });
  if (draft && byId("panel-edit").open) byId("panel-edit").dataset.still = "yes";
  const close = () => {
    const open = document.querySelector("#act .panel[open]");
    if (!open) return;
    open.open = false;
    delete open.dataset.still;
    if (open.id === "panel-edit") { draft.value = draft.dataset.original; saveDraft(); }
    byId("title").focus({ preventScroll: true });
  };
  byId("b-cancel")?.addEventListener("click", close);

  // Keys. A button says its key in data-key; the list is the page /keys.
  const typing = (element) => element.closest("input, textarea, select, [contenteditable]") !== null;
  const toggle = (summary) => {
    const panel = summary.parentElement;
    delete panel.dataset.still;
    panel.open = true;
    const field = panel.querySelector("textarea");
    if (panel.id === "panel-reject") panel.querySelector("button").focus();
    else { field.focus(); field.setSelectionRange(field.value.length, field.value.length); }
  };
  document.addEventListener("keydown", (event) => {
    const target = event.target instanceof Element ? event.target : document.body;
    if (event.isComposing) return;
    if (event.key === "Escape") { target.blur?.(); close(); return; }
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey) && target.matches("textarea")) {
      const button = target.closest(".panel, form").querySelector("button:not([type=button])");
      if (button) { event.preventDefault(); button.click(); }
      return;
    }
    if (typing(target) || event.ctrlKey || event.metaKey || event.altKey || event.repeat) return;
    if (event.key === " " && target.closest("button, summary, a.button, [role=tab]") && target.id !== "title") return;
    if (/^[1-7]$/.test(event.key) && byId("panel-reject")?.open) {
      event.preventDefault();
      byId(`b-reject-${event.key}`).click();
      return;
    }
    const button = document.querySelector(`[data-key="${CSS.escape(event.key)}"]`);
    if (!button || button.disabled) return;
    event.preventDefault();
    if (event.key === "/") { byId("search").focus(); byId("search").select(); return; }
    if (event.key === "n") { byId("neighbours").focus(); byId("neighbours").scrollIntoView(); return; }
    if (button.tagName === "SUMMARY") toggle(button);
    else button.click();
  });
})();
