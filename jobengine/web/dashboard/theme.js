// Sets the chosen theme before the first paint. It is a classic script: modules run too late.
'use strict';
try {
  const theme = localStorage.getItem('jobengine.theme');
  if (theme === 'light' || theme === 'dark') document.documentElement.dataset.theme = theme;
} catch {
  // If storage is forbidden, the system's theme is used.
}
