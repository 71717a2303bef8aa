// What script adds to pages that work without it: buttons that copy, a status that follows by itself, and the focus on what is wrong.
"use strict";

for (const code of document.querySelectorAll("[data-copy]")) {
  if (!navigator.clipboard) break;
  const button = document.createElement("button");
  button.type = "button";
  button.className = "plain small";
  button.textContent = "Copy";
  button.setAttribute("aria-label", "Copy " + code.dataset.copy);
  button.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(code.textContent);
      button.textContent = "Copied";
    } catch {
      button.textContent = "Select and copy";
    }
    setTimeout(() => { button.textContent = "Copy"; }, 2000);
  });
  code.after(button);
}

document.querySelector("[data-focus]")?.focus();

const followed = document.querySelector("[data-follow]");
if (followed) {
  const shown = followed.dataset.state;
  let wait = 1000;
  const look = async () => {
    try {
      const answer = await fetch(followed.dataset.follow, { credentials: "same-origin", redirect: "error" });
      if (answer.ok && (await answer.text()) !== shown) {
        location.reload();
        return;
      }
    } catch { /* The next look may succeed. */ }
    wait = Math.min(wait * 1.3, 10000);
    setTimeout(look, wait);
  };
  setTimeout(look, wait);
}
