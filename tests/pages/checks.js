// Looks at every frame of the page, and writes what is wrong into the element "result".
function channels(colour) {
  const found = colour.match(/[\d.]+/g).map(Number);
  if (colour.startsWith("color(")) return [255 * found[0], 255 * found[1], 255 * found[2], found[3] ?? 1];
  return [found[0], found[1], found[2], found[3] ?? 1];
}
function over(top, below) {
  return [0, 1, 2].map((k) => top[k] * top[3] + below[k] * (1 - top[3])).concat([1]);
}
function luminance(colour) {
  const [r, g, b] = colour.slice(0, 3).map((value) => {
    const c = value / 255;
    return c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
  });
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
}
function background(element, view, canvas) {
  const layers = [];
  for (let at = element; at; at = at.parentElement) layers.push(channels(view.getComputedStyle(at).backgroundColor));
  return layers.reverse().reduce((below, top) => over(top, below), canvas);
}
function contrast(a, b) {
  const [high, low] = [luminance(a), luminance(b)].sort((x, y) => y - x);
  return (high + 0.05) / (low + 0.05);
}
function faults(frame) {
  const doc = frame.contentDocument, view = frame.contentWindow, wrong = [];
  const words = (element) => `${element.tagName.toLowerCase()} "${element.textContent.trim().slice(0, 30)}"`;
  if (doc.documentElement.scrollWidth > view.innerWidth)
    wrong.push(`the page is ${doc.documentElement.scrollWidth} pixels wide`);
  if (!doc.documentElement.lang) wrong.push("no language");
  if (!doc.title) wrong.push("no title");
  if (doc.querySelectorAll("h1").length !== 1) wrong.push("not one h1");
  if (doc.querySelectorAll("main").length !== 1) wrong.push("not one main");
  let level = 0;
  for (const heading of doc.querySelectorAll("h1, h2, h3, h4")) {
    if (+heading.tagName[1] > level + 1) wrong.push(`a level is left out before ${words(heading)}`);
    level = +heading.tagName[1];
  }
  for (const image of doc.images) if (!(image.alt || "").trim()) wrong.push("an image without a text");
  for (const table of doc.querySelectorAll("table")) {
    const region = table.closest("[aria-label]");
    if (!(table.caption && table.caption.textContent.trim()) && !(region && region.getAttribute("aria-label").trim()))
      wrong.push("a table without a name");
    if (!table.querySelector("th[scope]")) wrong.push("a table without headers");
  }
  for (const element of doc.querySelectorAll("[src], link[href], [srcset]")) {
    const url = element.getAttribute("src") || element.getAttribute("href") || element.getAttribute("srcset");
    if (!url.startsWith("data:")) wrong.push(`loads ${url.slice(0, 60)}`);
  }
  if (/url\((?!["']?data:)|@import/.test([...doc.querySelectorAll("style")].map((s) => s.textContent).join())) wrong.push("a style loads something");
  const plain = doc.createElement("div");
  plain.style.backgroundColor = "Canvas";
  doc.body.append(plain);
  const canvas = channels(view.getComputedStyle(plain).backgroundColor);
  plain.remove();
  for (const element of doc.body.querySelectorAll("*")) {
    const style = view.getComputedStyle(element);
    if (["auto", "scroll"].includes(style.overflowX) && element.scrollWidth > element.clientWidth && element.tabIndex < 0)
      wrong.push(`no keyboard scrolls ${words(element)}`);
    if (element.tagName === "A" && !element.hasAttribute("href")) wrong.push(`no keyboard reaches ${words(element)}`);
    if (element.hasAttribute("onclick") && element.tabIndex < 0) wrong.push(`no keyboard reaches ${words(element)}`);
    const says = [...element.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim());
    if (!says || style.visibility === "hidden" || style.display === "none") continue;
    const behind = background(element, view, canvas), ratio = contrast(over(channels(style.color), behind), behind);
    const size = parseFloat(style.fontSize), large = size >= 24 || (size >= 18.66 && +style.fontWeight >= 700);
    if (ratio < (large ? 3 : 4.5)) wrong.push(`contrast ${ratio.toFixed(2)} of ${words(element)}`);
  }
  return { page: frame.title, wide: view.innerWidth, dark: view.matchMedia("(prefers-color-scheme: dark)").matches, words: doc.body.innerText.length, wrong: [...new Set(wrong)] };
}
window.addEventListener("load", () => {
  const found = [...document.querySelectorAll("iframe")].map(faults);
  document.getElementById("result").textContent = JSON.stringify(found);
});
