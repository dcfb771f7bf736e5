// The chart library styles itself with <style> elements. They carry the nonce of this page, so that the policy may refuse all others.
{
  const plain = document.createElement.bind(document);
  document.createElement = (tag, options) => {
    const made = plain(tag, options);
    if (tag === "style") made.nonce = STYLE_NONCE;
    return made;
  };
}
