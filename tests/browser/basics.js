/* What can be seen of WCAG 2.2 without a person: names, references, headings, landmarks, sizes to touch, no scrolling sideways (1.4.10). */
() => {
  const found = [];
  const all = (selector) => [...document.querySelectorAll(selector)];
  const shown = (selector) => all(selector).filter((element) => element.checkVisibility());
  const ids = all("[id]").map((element) => element.id);
  if (new Set(ids).size !== ids.length) found.push("an id stands twice");
  for (const element of all("[aria-labelledby], [aria-describedby]")) {
    const named = [element.getAttribute("aria-labelledby"), element.getAttribute("aria-describedby")].filter((id) => id !== null);
    for (const id of named) if (!ids.includes(id)) found.push(`${id} is nowhere`);
  }
  for (const control of shown("button, input, a, summary")) {
    const label = control.labels?.[0] ?? control;
    if (!label.textContent.trim()) found.push(`${control.outerHTML} has no name`);
    if (label.getBoundingClientRect().height < 24) found.push(`${control.outerHTML} is too small to touch`);
  }
  const levels = shown("h1, h2, h3, h4").map((heading) => Number(heading.tagName[1]));
  for (const [at, level] of levels.entries()) {
    if (level > (levels[at - 1] ?? 0) + 1) found.push(`a heading of level ${level} follows ${levels[at - 1]}`);
  }
  if (levels.filter((level) => level === 1).length !== 1) found.push("not one heading of level 1");
  if (all("svg").some((picture) => picture.getAttribute("aria-hidden") !== "true")) found.push("a picture is read aloud");
  if (!document.title || !document.documentElement.lang) found.push("no title or language");
  if (all("main, header, footer").length !== 3) found.push("a landmark is missing");
  if (document.documentElement.scrollWidth > innerWidth) found.push("the page scrolls sideways");
  return found;
}
