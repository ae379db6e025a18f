/** Light or dark: as the system has it, until the button says otherwise. */
function switchTheme() {
  const root = document.documentElement, button = document.getElementById("theme");
  const system = matchMedia("(prefers-color-scheme: dark)");
  const isDark = () => (root.dataset.theme ? root.dataset.theme === "dark" : system.matches);
  const label = () => { button.textContent = isDark() ? "Light" : "Dark"; };
  button.addEventListener("click", () => { root.dataset.theme = isDark() ? "light" : "dark"; label(); });
  system.addEventListener("change", label);
  label();
}

/** The link of the section that is read is marked. */
function followSections() {
  const links = new Map([...document.querySelectorAll("nav a")].map((link) => [link.hash.slice(1), link]));
  const seen = new Set();
  const watcher = new IntersectionObserver((entries) => {
    for (const entry of entries) entry.isIntersecting ? seen.add(entry.target.id) : seen.delete(entry.target.id);
    const first = [...links.keys()].find((id) => seen.has(id));
    for (const [id, link] of links) id === first ? link.setAttribute("aria-current", "true") : link.removeAttribute("aria-current");
  }, { rootMargin: "-70px 0px -40% 0px" });
  document.querySelectorAll("main > section").forEach((section) => watcher.observe(section));
}

/** Draw a section; one that cannot be drawn does not take the others with it. */
function attempt(id, show) {
  try {
    show();
  } catch (problem) {
    bodyOf(id).append(make("p", { class: "note" }, `This section cannot be drawn: ${problem.message}`));
  }
}

document.title = `Run report: ${visible(data.title)}`;
document.getElementById("title").textContent = visible(data.title);
document.getElementById("made").textContent = `${visible(data.output)}${data.data_of ? ` · the way from personas to curated dialogues is that of ${visible(data.data_of)}, which it trains on` : ""} · report made ${when(data.made)}`;
switchTheme();
showNotes(data.missing, data.problems);
attempt("overview", () => showOverview(data.overview));
attempt("profiles", () => showProfiles(data.profiles, data.characters));
attempt("dialogues", () => showDialogues(data.dialogues, data.characters));
attempt("rejected", () => showRejected(data.dialogues.rejected, data.overview.reasons));
attempt("safety", () => showSafety(data.safety));
attempt("training", () => showTraining(data.training));
attempt("evaluation", () => showEvaluation(data.evaluation));
followSections();
