// What the page does beyond what works without scripts: keyboard shortcuts,
// upload progress, and telling when live updates stopped.
"use strict";

const go = { f: "/", h: "/hosts", a: "/agents", r: "/rollouts", e: "/schedules", g: "/groups", l: "/holds", c: "/changes", s: "/settings" };
let prefix = false;

function typing(e) {
  return e.target.closest("input, select, textarea, [contenteditable]") || e.ctrlKey || e.metaKey || e.altKey;
}

function moveRow(step) {
  const links = [...document.querySelectorAll("main tbody tr td:first-child a, main tbody tr th a")];
  if (!links.length) return;
  const at = links.indexOf(document.activeElement);
  links[Math.min(links.length - 1, Math.max(0, at + step))].focus();
}

document.addEventListener("keydown", (e) => {
  if (typing(e)) return;
  if (prefix) {
    prefix = false;
    if (go[e.key]) { e.preventDefault(); location.href = go[e.key]; }
    return;
  }
  switch (e.key) {
    case "g": prefix = true; setTimeout(() => { prefix = false; }, 1500); break;
    case "/": {
      const search = document.querySelector("input[type=search]");
      if (search) { e.preventDefault(); search.focus(); search.select(); } else { location.href = "/hosts"; }
      break;
    }
    case "j": moveRow(1); break;
    case "k": moveRow(-1); break;
    case "t": nextClock(); break;
    case "?": document.getElementById("keys")?.showModal(); break;
  }
});

// A select marked data-submit sends its form by itself, whatever else is not
// filled in yet: what it is about decides what there is to fill in.
document.addEventListener("change", (e) => {
  if (!e.target.matches("[data-submit]")) return;
  e.target.form.noValidate = true;
  e.target.form.requestSubmit();
});

// Times are ages until somebody asks for a clock. The choice is kept.
const clocks = ["ages", "your time", "UTC"];
let clock = Math.max(0, clocks.indexOf(localStorage.getItem("clock")));

function clockText(date) {
  if (clocks[clock] === "UTC") return date.toISOString().slice(0, 19).replace("T", " ") + " UTC";
  return date.toLocaleString(undefined, { dateStyle: "medium", timeStyle: "medium" });
}

function showTimes() {
  const button = document.getElementById("zone");
  if (button) { button.hidden = false; button.textContent = "Times: " + clocks[clock]; }
  for (const t of document.querySelectorAll("time[datetime]")) {
    const date = new Date(t.dateTime);
    if (isNaN(date) || date.getTime() < 0) continue; // never
    if (!t.dataset.age) t.dataset.age = t.textContent;
    const text = clock === 0 ? t.dataset.age : clockText(date);
    if (t.textContent !== text) t.textContent = text;
  }
}

function nextClock() {
  clock = (clock + 1) % clocks.length;
  localStorage.setItem("clock", clocks[clock]);
  showTimes();
}

document.addEventListener("click", (e) => { if (e.target.id === "zone") nextClock(); });
document.addEventListener("htmx:afterSettle", showTimes);
showTimes();

// What a reader opened stays open when the page is renewed, and what somebody
// has typed stays in its field.
if (window.Idiomorph) {
  Idiomorph.defaults.callbacks.beforeAttributeUpdated = (name, node) =>
    !(name === "open" && node.tagName === "DETAILS") && !(name === "value" && node.value !== node.defaultValue);
}

function stale(text) {
  const says = document.getElementById("stale");
  if (says && says.textContent !== text) says.textContent = text;
}

// Without a stream of changes, as when too many are open, the page looks by
// itself from time to time.
let looking = 0;

function look() {
  const live = document.getElementById("live");
  if (live) htmx.trigger(live, "sse:change");
}

function unanswered() {
  stale("ops-meta does not answer: what is shown here is from before. It is tried again.");
}

document.addEventListener("htmx:sseError", () => {
  if (looking) return; // what it looks at tells more
  unanswered();
  looking = setInterval(look, 15000);
});
document.addEventListener("htmx:sendError", () => { if (looking) unanswered(); });
document.addEventListener("htmx:sseOpen", () => {
  stale("");
  clearInterval(looking);
  looking = 0;
});
document.addEventListener("htmx:afterOnLoad", (e) => {
  if (looking && e.detail.requestConfig?.elt?.id === "live") stale("Changes are not told at once now: this page looks again every 15 seconds.");
});

// Uploads show how far they are; without scripts the form is sent as it is.
document.addEventListener("submit", (e) => {
  const form = e.target.closest("form[data-upload]");
  if (!form) return;
  e.preventDefault();
  const bar = form.querySelector("progress");
  const says = form.querySelector("[role=status]");
  const xhr = new XMLHttpRequest();
  xhr.open("POST", form.action);
  xhr.upload.addEventListener("progress", (p) => {
    bar.hidden = false;
    bar.max = p.total;
    bar.value = p.loaded;
    says.textContent = p.loaded < p.total ? Math.floor(100 * p.loaded / p.total) + " % sent" : "checking the tarball …";
  });
  xhr.addEventListener("load", () => {
    if (xhr.status < 300) { location.href = xhr.responseURL; return; }
    // Only what is wrong is taken from the answer: the form keeps its file.
    const answer = new DOMParser().parseFromString(xhr.responseText, "text/html");
    const problem = answer.querySelector("[role=alert]") || answer.querySelector("main .panel");
    form.querySelector("[data-problem]").replaceChildren(problem || "The server answered " + xhr.status + ": try again.");
    bar.hidden = true;
    says.textContent = "";
  });
  xhr.addEventListener("error", () => { says.textContent = "The upload broke off: try again."; });
  xhr.send(new FormData(form));
});
