// What is wrong with a page for people who hear it, use its keys, or see little: a line for each fault.
() => {
  const faults = [];
  const seen = (element) => element.checkVisibility({ opacityProperty: true, visibilityProperty: true }) && element.getClientRects().length;
  const all = [...document.querySelectorAll("body *")];
  const ids = all.map((element) => element.id).filter(Boolean);
  for (const id of ids) if (ids.indexOf(id) !== ids.lastIndexOf(id)) faults.push(`id ${id} twice`);
  const textOf = (names) => names.split(" ").map((id) => document.getElementById(id)?.textContent ?? "").join(" ").trim();
  const nameOf = (element) => element.getAttribute("aria-label") || textOf(element.getAttribute("aria-labelledby") ?? "")
    || [...(element.labels ?? [])].map((label) => label.textContent).join(" ").trim()
    || (/^(INPUT|SELECT|TEXTAREA)$/.test(element.tagName) ? "" : element.textContent.trim());
  const describe = (element) => `${element.tagName.toLowerCase()}#${element.id}.${element.className} "${nameOf(element).slice(0, 30)}"`;

  const controls = all.filter((element) => element.matches("button, a[href], input, select, textarea, summary, [role], [tabindex='0'], dialog"));
  for (const element of controls) {
    if (!element.matches("[role=status], [role=alert], [role=note]") && !nameOf(element)) faults.push(`no name: ${describe(element)}`);
    for (const name of ["aria-describedby", "aria-labelledby", "aria-controls"]) {
      for (const id of (element.getAttribute(name) ?? "").split(" ").filter(Boolean)) {
        if (!document.getElementById(id)) faults.push(`${name} leads nowhere: ${describe(element)}`);
      }
    }
  }
  for (const image of document.images) if (!image.hasAttribute("alt")) faults.push(`no alt: ${describe(image)}`);

  for (const element of controls.filter((one) => seen(one) && one.matches("button, a[href], input, select, summary, [role=slider]"))) {
    if (element.matches(".skip") || element.closest(".hidden-label")) continue;
    const box = element.getBoundingClientRect();
    if (box.width < 39.5 || box.height < 39.5) faults.push(`small (${box.width.toFixed()} × ${box.height.toFixed()}): ${describe(element)}`);
  }

  const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const rgba = (colour) => { canvas.clearRect(0, 0, 1, 1); canvas.fillStyle = colour; canvas.fillRect(0, 0, 1, 1); return [...canvas.getImageData(0, 0, 1, 1).data]; };
  const over = (top, below) => top.slice(0, 3).map((part, place) => (part * top[3] + below[place] * (255 - top[3])) / 255);
  const backOf = (element) => {
    const layers = [];
    for (let one = element; one; one = one.parentElement) layers.push(rgba(getComputedStyle(one).backgroundColor));
    return layers.reverse().reduce((below, top) => over(top, below), [255, 255, 255]);
  };
  const light = (colour) => {
    const [red, green, blue] = colour.map((part) => { const x = part / 255; return x <= 0.03928 ? x / 12.92 : ((x + 0.055) / 1.055) ** 2.4; });
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
  };
  const words = all.filter((element) => [...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim()));
  for (const element of words.filter(seen)) {
    if (element.closest(":disabled, [aria-hidden=true], .look:has(:disabled), .drop, option, .is-locked, .hidden-label, .dream-more")) continue;
    const back = backOf(element), text = over(rgba(getComputedStyle(element).color), back);
    const [high, low] = [light(text), light(back)].sort((one, other) => other - one);
    const ratio = (high + 0.05) / (low + 0.05);
    if (ratio < 4.5) faults.push(`contrast ${ratio.toFixed(2)}: ${describe(element)}`);
  }
  if (document.documentElement.scrollWidth > innerWidth) faults.push(`wider than the screen: ${document.documentElement.scrollWidth}`);
  return faults;
}
