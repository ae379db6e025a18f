/** Light or dark theme: by the system's setting, or the button. */
function switchTheme() {
  const root = document.documentElement, button = document.getElementById("theme");
  const system = matchMedia("(prefers-color-scheme: dark)");
  const isDark = () => (root.dataset.theme ? root.dataset.theme === "dark" : system.matches);
  const label = () => { button.textContent = isDark() ? "Light" : "Dark"; };
  button.addEventListener("click", () => { root.dataset.theme = isDark() ? "light" : "dark"; label(); });
  system.addEventListener("change", label);
  label();
}

/** Mark the link of the section in view. */
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

/** Draw a section; an error in one section does not prevent the others. */
function attempt(id, show) {
  try {
    show();
  } catch (problem) {
    bodyOf(id).append(el("p", { class: "note" }, `This section cannot be drawn: ${problem.message}`));
  }
}

document.title = `Run report: ${visible(data.title)}`;
document.getElementById("title").textContent = visible(data.title);
document.getElementById("created").textContent = `Report of ${when(data.created)}${data.data_of ? `, trained on the data of ${visible(data.data_of)}` : ""}`;
switchTheme();
showNotes(data.missing, data.problems);
attempt("outcome", () => showOutcome(data.outcome));
attempt("overview", () => showOverview(data.overview));
attempt("profiles", () => showProfiles(data.profiles, data.characters));
attempt("dialogues", () => showDialogues(data.dialogues, data.characters));
attempt("rejected", () => showRejected(data.dialogues.rejected, data.overview.reasons));
attempt("safety", () => showSafety(data.safety));
attempt("training", () => showTraining(data.training));
attempt("evaluation", () => showEvaluation(data.evaluation));
followSections();
