/* WCAG 2.2, 1.4.3 and 1.4.11: contrast of text with what is painted behind it, and of the borders of what can be used.
   How many texts were looked at, and which fail. */
() => {
  const rgb = (color) => color.match(/[0-9.]+/g).map(Number);
  const linear = (part) => (part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4);
  const light = (color) => {
    const [red, green, blue] = rgb(color).map((part) => linear(part / 255));
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
  };
  const ratio = (one, two) => (Math.max(light(one), light(two)) + 0.05) / (Math.min(light(one), light(two)) + 0.05);
  const behind = (element) => {
    const color = getComputedStyle(element).backgroundColor;
    return rgb(color).length < 4 ? color : behind(element.parentElement);
  };
  const seen = [], found = [];
  for (const element of document.body.querySelectorAll(":not(:disabled, noscript)")) {
    if (!element.checkVisibility()) continue;
    const style = getComputedStyle(element), ground = behind(element), text = element.textContent.trim();
    if ([...element.childNodes].some((node) => node.nodeType === Node.TEXT_NODE && node.textContent.trim())) {
      seen.push(text);
      if (ratio(style.color, ground) < 4.5) found.push(`${text}: ${ratio(style.color, ground).toFixed(2)}`);
    }
    if (element.matches(".drop, .quiet") && ratio(style.borderTopColor, ground) < 3) found.push(`the border of ${text}`);
  }
  return [seen.length, found];
}
