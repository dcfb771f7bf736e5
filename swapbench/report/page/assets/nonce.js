// The chart library adds <style> elements. They get the nonce of this page, so that its policy can refuse all
// others.
{
  const createElement = document.createElement.bind(document);
  document.createElement = (tag, options) => {
    const element = createElement(tag, options);
    if (tag === "style") element.nonce = STYLE_NONCE;
    return element;
  };
}
