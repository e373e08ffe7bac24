// Owns what the components of GOV.UK Frontend do beyond HTML: without it every form works all the same.
import { Button, ErrorSummary, NotificationBanner, PasswordInput, createAll } from 'govuk-frontend';

document.body.classList.add('js-enabled', 'govuk-frontend-supported');
const words = document.body.dataset;
createAll(Button, { preventDoubleClick: true });
createAll(ErrorSummary);
createAll(NotificationBanner);
createAll(PasswordInput, {
  i18n: {
    showPassword: words.show,
    hidePassword: words.hide,
    showPasswordAriaLabel: words.show,
    hidePasswordAriaLabel: words.hide,
    passwordShownAnnouncement: words.shown,
    passwordHiddenAnnouncement: words.hidden,
  },
});
