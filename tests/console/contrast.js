// The texts that can be seen, with the least contrast to what is behind them: [[ratio, colour, background, text]…].
const channel = value => (value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4);
const parse = text => {
  const [, numbers] = /^rgba?\(([^)]+)\)$/.exec(text) ?? [];
  if (!numbers) throw new Error(`a colour that cannot be read: ${text}`);
  const [red, green, blue, alpha = 1] = numbers.split(/[\s,/]+/).map(Number);
  return [red, green, blue, alpha];
};
const over = (top, below) => [0, 1, 2].map(at => top[at] * top[3] + below[at] * (1 - top[3])).concat(1);
const brightness = ([red, green, blue]) =>
  0.2126 * channel(red / 255) + 0.7152 * channel(green / 255) + 0.0722 * channel(blue / 255);
const ratio = (one, other) => {
  const [light, dark] = [brightness(one), brightness(other)].sort((a, b) => b - a);
  return (light + 0.05) / (dark + 0.05);
};
const behind = element => {
  const layers = [];
  for (let at = element; at; at = at.parentElement) {
    const style = getComputedStyle(at);
    if (Number(style.opacity) < 1) throw new Error(`opacity on ${at.tagName}.${at.className}: not reckoned with here`);
    layers.push(parse(style.backgroundColor));
    if (layers.at(-1)[3] === 1) break;
  }
  return layers.reverse().reduce((below, layer) => over(layer, below), [255, 255, 255, 1]);
};
const measure = (element, colour, text) => {
  const background = behind(element);
  return [ratio(over(parse(colour), background), background), colour, `rgb(${background.slice(0, 3).map(Math.round)})`, text.trim().slice(0, 60)];
};
const found = [];
const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
while (walker.nextNode()) {
  const { parentElement: element, data } = walker.currentNode;
  if (!data.trim() || !element.checkVisibility({ visibilityProperty: true }) || element.closest('.hidden-text, script, style, option')) continue;
  found.push(measure(element, getComputedStyle(element).color, data));
}
for (const field of document.querySelectorAll('input, textarea, select')) {
  if (!field.checkVisibility()) continue;
  found.push(measure(field, getComputedStyle(field).color, `value of ${field.id}`));
  if (field.placeholder) found.push(measure(field, getComputedStyle(field, '::placeholder').color, field.placeholder));
}
return found.sort((a, b) => a[0] - b[0]);
