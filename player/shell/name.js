// Owns the channel's name on an open page: the staff may give it a new one.
export function rename(player, names) {
  const name = names?.[document.documentElement.lang];
  if (!name || name === player.name) return;
  const swap = (words) => words.replace(player.name, () => name);
  document.title = swap(document.title);
  player.setAttribute('aria-label', swap(player.getAttribute('aria-label')));
  for (const place of document.querySelectorAll('[data-name-in]')) place.textContent = names[place.dataset.nameIn];
  document.querySelector('.other-name').hidden = names.sw === names.en;
  player.name = name;
}
